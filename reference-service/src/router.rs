//! The index of the service: every module's routes behind one pipeline.

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::header,
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
};

use crate::{
    app::App,
    http::{
        error::ApiError,
        guard::{correlate, guard},
        openapi,
        route::{Access, Route},
    },
    modules,
};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// The document of the API, as text.
#[derive(Debug, Clone)]
pub struct OpenApi(pub std::sync::Arc<str>);

/// Every route of every module.
pub fn routes() -> Vec<Route> {
    modules::all().iter().flat_map(|module| (module.routes)()).collect()
}

/// The service.
pub fn router(app: App) -> Router {
    let routes = routes();
    let document = OpenApi(openapi::document(&routes));
    let mut router = Router::new();
    for route in routes {
        let handler = match route.access {
            Access::Public => route.handler,
            access => route.handler.layer(from_fn_with_state((app.clone(), access), guard)),
        };
        router = router.route(&route.path, handler);
    }
    router
        .fallback(|| async { ApiError::no_route() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(Extension(document))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(correlate))
        .with_state(app)
}

/// The document, served.
pub async fn serve_document(Extension(OpenApi(text)): Extension<OpenApi>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}
