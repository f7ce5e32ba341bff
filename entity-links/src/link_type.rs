//! Link types: in which ways two entities may belong together.
//!
//! INVARIANT: a type inside a [`LinkTypes`] has been validated, and no name in it can be read in two ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::{MetadataError, MetadataSchema, object};

/// The longest name of a link type or of a kind, as the columns have it.
const LONGEST: usize = 50;

/// What becomes of a link, and of its other end, when an entity is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// The link goes, the other end stays.
    #[default]
    Clear,
    /// The entity may not be removed while it has such a link, unless the other end is removed with it.
    Block,
    /// The other end is removed too.
    Cascade,
}

/// A way in which two entities belong together.
///
/// # How is a type of links described?
///
/// ```
/// use formwork_entity_links::{LinkType, LinkTypes, OnDelete};
///
/// let types = LinkTypes::new()
///     .with(LinkType::symmetric("relates"))?
///     .with(LinkType::new("blocks", "blocked_by").acyclic())?
///     .with(
///         LinkType::new("contains", "part_of")
///             .between(&["folder"], &["folder", "document"])
///             .max_sources(1) // whatever is part of a folder is part of one
///             .acyclic()
///             .on_source_delete(OnDelete::Cascade),
///     )?;
/// assert_eq!(types.get("blocks").map(|found| found.inverse()), Some("blocked_by"));
/// # Ok::<_, formwork_entity_links::InvalidLinkType>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkType {
    name: String,
    inverse: String,
    #[serde(default)]
    symmetric: bool,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    max_targets: Option<u32>,
    #[serde(default)]
    max_sources: Option<u32>,
    #[serde(default)]
    on_source_delete: OnDelete,
    #[serde(default)]
    on_target_delete: OnDelete,
    #[serde(default)]
    acyclic: bool,
    #[serde(default)]
    allow_self: bool,
    #[serde(default)]
    metadata: Option<MetadataSchema>,
}

impl LinkType {
    /// Read from the source as `name` and from the target as `inverse`, between any kinds, as many as one likes.
    pub fn new(name: impl Into<String>, inverse: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inverse: inverse.into(),
            symmetric: false,
            sources: Vec::new(),
            targets: Vec::new(),
            max_targets: None,
            max_sources: None,
            on_source_delete: OnDelete::Clear,
            on_target_delete: OnDelete::Clear,
            acyclic: false,
            allow_self: false,
            metadata: None,
        }
    }

    /// Read the same from both ends; stored once, in one order, whichever end is named first.
    pub fn symmetric(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { symmetric: true, ..Self::new(name.clone(), name) }
    }

    /// Only from these kinds to those; none means any.
    #[must_use]
    pub fn between(mut self, sources: &[&str], targets: &[&str]) -> Self {
        self.sources = sources.iter().map(|kind| (*kind).to_owned()).collect();
        self.targets = targets.iter().map(|kind| (*kind).to_owned()).collect();
        self
    }

    /// A source has at most so many targets. Of a symmetric type: an entity has at most so many links.
    #[must_use]
    pub fn max_targets(mut self, most: u32) -> Self {
        self.max_targets = Some(most);
        self
    }

    /// A target has at most so many sources.
    #[must_use]
    pub fn max_sources(mut self, most: u32) -> Self {
        self.max_sources = Some(most);
        self
    }

    /// What a link does when its source is removed. Of a symmetric type: either end.
    #[must_use]
    pub fn on_source_delete(mut self, rule: OnDelete) -> Self {
        self.on_source_delete = rule;
        self
    }

    /// What a link does when its target is removed.
    #[must_use]
    pub fn on_target_delete(mut self, rule: OnDelete) -> Self {
        self.on_target_delete = rule;
        self
    }

    /// No way along links of this type leads back to where it began.
    #[must_use]
    pub fn acyclic(mut self) -> Self {
        self.acyclic = true;
        self
    }

    /// An entity may be linked to itself.
    #[must_use]
    pub fn allow_self(mut self) -> Self {
        self.allow_self = true;
        self
    }

    /// What its links carry besides.
    #[must_use]
    pub fn metadata(mut self, schema: MetadataSchema) -> Self {
        self.metadata = Some(schema);
        self
    }

    /// The name read from the source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name read from the target.
    pub fn inverse(&self) -> &str {
        &self.inverse
    }

    /// Is it read the same from both ends?
    pub fn is_symmetric(&self) -> bool {
        self.symmetric
    }

    /// Does no way along it lead back?
    pub fn is_acyclic(&self) -> bool {
        self.acyclic
    }

    /// May an entity be linked to itself?
    pub fn allows_self(&self) -> bool {
        self.allow_self
    }

    /// The most targets of a source; of a symmetric type, the most links of an entity.
    pub fn target_limit(&self) -> Option<u32> {
        self.max_targets
    }

    /// The most sources of a target.
    pub fn source_limit(&self) -> Option<u32> {
        if self.symmetric { self.max_targets } else { self.max_sources }
    }

    /// What becomes of it when its source is removed.
    pub fn source_rule(&self) -> OnDelete {
        self.on_source_delete
    }

    /// What becomes of it when its target is removed.
    pub fn target_rule(&self) -> OnDelete {
        if self.symmetric { self.on_source_delete } else { self.on_target_delete }
    }

    /// Does it join these kinds?
    pub(crate) fn joins(&self, source: &str, target: &str) -> bool {
        let fits = |kinds: &[String], kind: &str| kinds.is_empty() || kinds.iter().any(|known| known == kind);
        let forward = fits(&self.sources, source) && fits(&self.targets, target);
        forward || self.symmetric && fits(&self.sources, target) && fits(&self.targets, source)
    }

    pub(crate) fn check_metadata(&self, metadata: &Value) -> Result<(), MetadataError> {
        match &self.metadata {
            Some(schema) => schema.check(metadata),
            None => object(metadata).map(drop),
        }
    }

    fn validate(&self) -> Result<(), InvalidLinkType> {
        let kinds = self.sources.iter().chain(&self.targets);
        for given in [&self.name, &self.inverse].into_iter().chain(kinds) {
            if !is_name(given) {
                return Err(InvalidLinkType::Name { link_type: self.name.clone(), given: given.clone() });
            }
        }
        if let Some(why) = self.contradiction() {
            return Err(InvalidLinkType::Contradiction { link_type: self.name.clone(), why });
        }
        match self.metadata.as_ref().and_then(MetadataSchema::fault) {
            Some(fault) => Err(InvalidLinkType::Metadata { link_type: self.name.clone(), fault }),
            None => Ok(()),
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let one_sided = self.max_sources.is_some() || self.on_target_delete != OnDelete::Clear;
        [
            (self.symmetric && self.inverse != self.name, "it is symmetric and has an inverse name"),
            (
                !self.symmetric && self.inverse == self.name,
                "it reads the same from both ends: make it symmetric",
            ),
            (self.symmetric && self.acyclic, "it is symmetric, so every link of it leads back"),
            (self.acyclic && self.allow_self, "a link to itself is a cycle"),
            (
                self.symmetric && one_sided,
                "it is symmetric: `max_targets` and `on_source_delete` hold for both ends",
            ),
            (self.max_targets == Some(0) || self.max_sources == Some(0), "a limit of 0 allows no link"),
        ]
        .into_iter()
        .find_map(|(holds, why)| holds.then_some(why))
    }
}

/// A link type that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLinkType {
    /// A name of the type, or of a kind, that cannot be one.
    #[error(
        "link type `{link_type}`: `{given}` is no name: use lower-case letters, digits and underscores, \
         a letter first, at most 50"
    )]
    Name {
        /// The link type.
        link_type: String,
        /// As given.
        given: String,
    },
    /// Two types that are read by one name, from either end.
    #[error("link type `{link_type}`: `{given}` names another type already")]
    Twice {
        /// The link type.
        link_type: String,
        /// The name that is taken.
        given: String,
    },
    /// Rules that exclude each other.
    #[error("link type `{link_type}`: {why}")]
    Contradiction {
        /// The link type.
        link_type: String,
        /// Which.
        why: &'static str,
    },
    /// A field of the metadata that no value could fit.
    #[error("link type `{link_type}`, metadata {fault}")]
    Metadata {
        /// The link type.
        link_type: String,
        /// Where, and what is wrong.
        fault: MetadataError,
    },
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The link types of an application, or of one tenant of it.
#[derive(Debug, Clone, Default)]
pub struct LinkTypes {
    by_name: BTreeMap<String, Arc<LinkType>>,
}

impl LinkTypes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    ///
    /// # Errors
    ///
    /// [`InvalidLinkType`] when it contradicts itself, or shares a name with another one.
    pub fn with(mut self, link_type: LinkType) -> Result<Self, InvalidLinkType> {
        link_type.validate()?;
        let names = [link_type.name(), link_type.inverse()];
        if let Some(given) = names.into_iter().find(|name| self.reads(name)) {
            let (link_type, given) = (link_type.name().to_owned(), given.to_owned());
            return Err(InvalidLinkType::Twice { link_type, given });
        }
        self.by_name.insert(link_type.name.clone(), Arc::new(link_type));
        Ok(self)
    }

    /// The type with this name, as read from the source.
    pub fn get(&self, name: &str) -> Option<&LinkType> {
        self.by_name.get(name).map(Arc::as_ref)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &LinkType> {
        self.by_name.values().map(Arc::as_ref)
    }

    pub(crate) fn shared(&self, name: &str) -> Option<Arc<LinkType>> {
        self.by_name.get(name).map(Arc::clone)
    }

    /// The names, for whoever used another one.
    pub(crate) fn known(&self) -> String {
        self.by_name.keys().cloned().collect::<Vec<_>>().join(", ")
    }

    fn reads(&self, name: &str) -> bool {
        self.iter().any(|known| known.name == name || known.inverse == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    fn refused(link_type: LinkType) -> String {
        LinkTypes::new().with(link_type).unwrap_err().to_string()
    }

    #[test]
    fn a_type_that_contradicts_itself_is_refused() {
        let directed = || LinkType::new("blocks", "blocked_by");
        for (link_type, text) in [
            (LinkType::new("a", "a"), "link type `a`: it reads the same from both ends: make it symmetric"),
            (
                LinkType::symmetric("a").acyclic(),
                "link type `a`: it is symmetric, so every link of it leads back",
            ),
            (directed().acyclic().allow_self(), "link type `blocks`: a link to itself is a cycle"),
            (
                LinkType::symmetric("a").max_sources(1),
                "link type `a`: it is symmetric: `max_targets` and `on_source_delete` hold for both ends",
            ),
            (directed().max_targets(0), "link type `blocks`: a limit of 0 allows no link"),
            (
                directed().metadata(MetadataSchema::new().required("x", Field::OneOf { values: vec![] })),
                "link type `blocks`, metadata `/x`: it names no value",
            ),
        ] {
            assert_eq!(refused(link_type), text);
        }
        for bad in ["", "Blocks", "1st", "a b", "ä", &"x".repeat(51)] {
            assert!(matches!(
                LinkTypes::new().with(LinkType::new(bad, "inverse")),
                Err(InvalidLinkType::Name { .. })
            ));
            assert!(refused(directed().between(&[bad], &[])).contains("is no name"), "{bad}");
        }
    }

    #[test]
    fn a_name_is_read_in_one_way() {
        let types = LinkTypes::new().with(LinkType::new("blocks", "blocked_by")).unwrap();
        for link_type in [
            LinkType::new("blocks", "other"),
            LinkType::new("blocked_by", "other"),
            LinkType::new("other", "blocks"),
            LinkType::symmetric("blocked_by"),
        ] {
            assert!(matches!(types.clone().with(link_type), Err(InvalidLinkType::Twice { .. })));
        }
        assert_eq!(types.known(), "blocks");
    }

    #[test]
    fn a_type_goes_through_json() {
        let made = LinkType::new("contains", "part_of")
            .between(&["folder"], &[])
            .max_sources(1)
            .acyclic()
            .on_source_delete(OnDelete::Cascade)
            .metadata(MetadataSchema::new().optional("n", Field::Integer { min: Some(1), max: None }));
        let text = serde_json::to_string(&made).unwrap();
        assert_eq!(serde_json::from_str::<LinkType>(&text).unwrap(), made);
        assert!(serde_json::from_str::<LinkType>(r#"{"name":"a","inverse":"b","acyclical":true}"#).is_err());
    }
}
