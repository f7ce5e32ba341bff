//! Requests, and what they carry besides.

use formwork_tenancy::{Resolution, ResolveError, Resolver, TenantId, TokenSubject, TokenTenant};
use http::{Request, Uri, request::Parts};
use uuid::Uuid;

/// The head of a request that a test makes.
pub(crate) struct Head(Parts);

impl Head {
    pub(crate) fn to(target: &str) -> Self {
        let uri: Uri = target.parse().unwrap();
        Self(Request::get(uri).body(()).unwrap().into_parts().0)
    }

    pub(crate) fn host(host: &str) -> Self {
        Self::to("/").header("host", host)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.0.headers.append(name, value.try_into().unwrap());
        self
    }

    pub(crate) fn token(self, tenant: TenantId) -> Self {
        self.with(TokenTenant(tenant))
    }

    pub(crate) fn subject(self, user: Uuid) -> Self {
        self.with(TokenSubject(user))
    }

    pub(crate) fn with<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
        self.0.extensions.insert(extension);
        self
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

pub(crate) async fn ask(resolver: &Resolver, head: &Head) -> Result<Resolution, ResolveError> {
    resolver.resolve(head.parts()).await
}

/// The status and the code of the refusal.
pub(crate) async fn refused(resolver: &Resolver, head: &Head) -> (u16, &'static str) {
    let error = ask(resolver, head).await.unwrap_err();
    (error.status().as_u16(), error.code())
}
