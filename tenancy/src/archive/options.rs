//! What can be chosen.

use crate::HomePlace;

/// How a tenant is exported.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    pub(super) password_hashes: bool,
}

impl ExportOptions {
    /// Everything but passwords.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes of passwords too. A password is a person's, who may be a member of other tenants; keep the archive as you
    /// keep the database.
    #[must_use]
    pub fn with_password_hashes(mut self) -> Self {
        self.password_hashes = true;
        self
    }
}

/// How a tenant is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    pub(super) slug: Option<String>,
    pub(super) is_copy: bool,
    pub(super) place: Option<HomePlace>,
    pub(super) password_hashes: bool,
    pub(super) without_people: bool,
}

impl ImportOptions {
    /// Restored: the tenant that was exported, under its own identity and name, where it lived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Under another name in addresses.
    #[must_use]
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = Some(slug.into());
        self
    }

    /// As another tenant: a copy under a new identity, with this name in addresses. A value that as a whole is the old
    /// identity becomes the new one, in every column of text or UUIDs; inside of longer texts and JSON it stays.
    /// Refused when the tenant has keys of its own.
    #[must_use]
    pub fn copy_named(mut self, slug: impl Into<String>) -> Self {
        self.is_copy = true;
        self.slug(slug)
    }

    /// Where its home is to be, whatever it was.
    #[must_use]
    pub fn place(mut self, place: HomePlace) -> Self {
        self.place = Some(place);
        self
    }

    /// People who are not known here get the password hashes that the archive has. Only for an archive that nobody else
    /// could write to: an identity is global, and who chooses its password signs in to whatever tenant takes that
    /// person in later.
    #[must_use]
    pub fn with_password_hashes(mut self) -> Self {
        self.password_hashes = true;
        self
    }

    /// Leaves out the control plane's part: nobody can sign in, and no domain is entered.
    #[must_use]
    pub fn without_people(mut self) -> Self {
        self.without_people = true;
        self
    }
}
