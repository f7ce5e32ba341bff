//! The modules. Each is one folder that declares what it has; nothing else knows its insides.

pub mod audit;
pub mod auth;
pub mod links;
pub mod members;
pub mod platform;
pub mod projects;
pub mod tasks;
pub mod tenant;

use formwork_authz::{Schema, SchemaError, Source};

use crate::http::route::{Access, Route};

/// What a module declares.
#[derive(Clone, Copy)]
pub struct Module {
    /// Unique name, also the folder.
    pub name: &'static str,
    /// Names of the modules that it stands on, declared before it.
    pub dependencies: &'static [&'static str],
    /// Its part of the permission schema, in the native language.
    pub permissions: &'static str,
    /// Its entities that links may join.
    pub linkable: &'static [Linkable],
    /// Its routes.
    pub routes: fn() -> Vec<Route>,
}

/// An entity that links may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linkable {
    /// Its type in permissions: `task`.
    pub kind: &'static str,
    /// Its name in paths: `tasks`.
    pub collection: &'static str,
    /// Whether rows with these ids exist; `for share`, so that they stay until the link is stored.
    pub existing: &'static str,
}

/// The modules do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// Their permissions make no schema.
    #[error("the modules' permissions do not fit together:\n{0}")]
    Schema(#[from] SchemaError),
    /// A link type that cannot be one.
    #[error(transparent)]
    LinkType(#[from] formwork_entity_links::InvalidLinkType),
    /// A dependency is missing, or declared later, which would allow a cycle.
    #[error("module `{module}` stands on `{dependency}`, which is not declared before it")]
    Dependency {
        /// The module.
        module: &'static str,
        /// What it names.
        dependency: &'static str,
    },
    /// Two routes have the same method and path.
    #[error("`{route}` is declared twice")]
    DuplicateRoute {
        /// Method and path.
        route: String,
    },
    /// A route names a permission that the schema does not have.
    #[error("`{route}` asks for `{permission}`, which `{object_type}` does not have")]
    UnknownPermission {
        /// Method and path.
        route: String,
        /// The permission.
        permission: &'static str,
        /// The type of object.
        object_type: &'static str,
    },
}

/// Every module, each after those it stands on.
pub fn all() -> [Module; 8] {
    [
        platform::MODULE,
        members::MODULE,
        tenant::MODULE,
        auth::MODULE,
        audit::MODULE,
        projects::MODULE,
        tasks::MODULE,
        links::MODULE,
    ]
}

/// Every entity that links may join.
pub fn linkable() -> impl Iterator<Item = Linkable> {
    all().into_iter().flat_map(|module| module.linkable.iter().copied())
}

/// The permission schema of all modules, after the checks that a start makes.
///
/// # Errors
///
/// [`ModuleError`] names what does not fit.
pub fn schema() -> Result<Schema, ModuleError> {
    let modules = all();
    let sources: Vec<Source> = modules
        .iter()
        .filter(|module| !module.permissions.is_empty())
        .map(|module| Source { name: module.name, text: module.permissions })
        .collect();
    let schema = Schema::compose(&sources)?;
    check_dependencies(&modules)?;
    check_routes(&modules, &schema)?;
    Ok(schema)
}

fn check_dependencies(modules: &[Module]) -> Result<(), ModuleError> {
    for (index, module) in modules.iter().enumerate() {
        for dependency in module.dependencies {
            if !modules.iter().take(index).any(|earlier| earlier.name == *dependency) {
                return Err(ModuleError::Dependency { module: module.name, dependency });
            }
        }
    }
    Ok(())
}

fn check_routes(modules: &[Module], schema: &Schema) -> Result<(), ModuleError> {
    let mut seen = std::collections::HashSet::new();
    for route in modules.iter().flat_map(|module| (module.routes)()) {
        let name = format!("{} {}", route.method, route.path);
        if !seen.insert(name.clone()) {
            return Err(ModuleError::DuplicateRoute { route: name });
        }
        let asked: Vec<(&'static str, &'static str)> = match route.access {
            Access::Public => vec![],
            Access::Permission { permission, object_type } => vec![(permission, object_type)],
            Access::Entities { permission } => linkable().map(|entity| (permission, entity.kind)).collect(),
        };
        for (permission, object_type) in asked {
            if !schema.permissions(object_type).any(|known| known == permission) {
                return Err(ModuleError::UnknownPermission { route: name, permission, object_type });
            }
        }
    }
    Ok(())
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("name", &self.name).finish_non_exhaustive()
    }
}
