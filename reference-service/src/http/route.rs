//! How a module declares a route: method, path, who may use it, what goes in and out.

use axum::{
    handler::Handler,
    http::{Method, StatusCode},
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::app::App;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Whoever holds `permission` on an object of `object_type`. The handler names the object, the declaration
    /// the permission: an answer that was given without asking is withheld.
    Permission {
        /// The permission.
        permission: &'static str,
        /// The type of object that it is asked on.
        object_type: &'static str,
    },
    /// Whoever holds `permission` on each of the things that the request or the row names, of whatever type.
    Entities {
        /// The permission.
        permission: &'static str,
    },
}

impl Access {
    /// `permission` on an object of `object_type`.
    pub const fn permission(permission: &'static str, object_type: &'static str) -> Self {
        Self::Permission { permission, object_type }
    }
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One route of the API.
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    pub(crate) body: Option<SchemaOf>,
    pub(crate) query: Option<SchemaOf>,
    pub(crate) returns: (StatusCode, Option<SchemaOf>),
    pub(crate) handler: MethodRouter<App>,
}

impl Route {
    fn new<H, T>(
        method: Method,
        filter: MethodFilter,
        path: impl Into<String>,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self {
            method,
            path: path.into(),
            access,
            summary: "",
            body: None,
            query: None,
            returns: (StatusCode::NO_CONTENT, None),
            handler: on(filter, handler),
        }
    }

    /// GET.
    pub fn get<H: Handler<T, App>, T: 'static>(path: impl Into<String>, access: Access, handler: H) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, access, handler)
    }

    /// POST.
    pub fn post<H: Handler<T, App>, T: 'static>(path: impl Into<String>, access: Access, handler: H) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, access, handler)
    }

    /// PATCH.
    pub fn patch<H: Handler<T, App>, T: 'static>(
        path: impl Into<String>,
        access: Access,
        handler: H,
    ) -> Self {
        Self::new(Method::PATCH, MethodFilter::PATCH, path, access, handler)
    }

    /// DELETE.
    pub fn delete<H: Handler<T, App>, T: 'static>(
        path: impl Into<String>,
        access: Access,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, access, handler)
    }

    /// One line for the API's document.
    #[must_use]
    pub fn summary(mut self, text: &'static str) -> Self {
        self.summary = text;
        self
    }

    /// The request's body.
    #[must_use]
    pub fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    /// The request's query parameters.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| generator.root_schema_for::<T>());
        self
    }

    /// What is answered.
    #[must_use]
    pub fn returns<T: JsonSchema>(mut self, status: StatusCode) -> Self {
        self.returns = (status, Some(|generator| generator.subschema_for::<T>()));
        self
    }

    /// Method of the route.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path of the route, parameters in braces.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who may use it.
    pub fn access(&self) -> Access {
        self.access
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.access)
    }
}
