//! Boards and notes for many customers: the host name of a request says whose.

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use formwork_tenancy::{Actor, CommitError, ResolveError, Session, StorageError, TenantTx, Tenants};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Clone)]
struct App {
    tenants: Tenants,
}

/// The tenant that the request is for. A handler begins when it has read its body, so that a slow client keeps no
/// connection.
struct Here {
    tenants: Tenants,
    session: Session,
}

impl Here {
    async fn begin(&self) -> Result<TenantTx, StorageError> {
        self.tenants.begin(&self.session).await
    }
}

impl FromRequestParts<App> for Here {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let tenant = app.tenants.resolve(parts).await?;
        // Whoever is signed in; this service knows nobody yet.
        let session = Session::new(&tenant, Actor::system("notes"));
        Ok(Self { tenants: app.tenants.clone(), session })
    }
}

#[derive(Serialize, Deserialize, FromRow)]
struct Board {
    #[serde(default)]
    id: Uuid,
    name: String,
}

#[derive(Serialize, Deserialize, FromRow)]
struct Note {
    #[serde(default)]
    id: Uuid,
    body: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::var("BASE_DOMAIN")?;
    let tenants = Tenants::builder().base_domain(base).connect(&std::env::var("DATABASE_URL")?).await?;
    let listener = TcpListener::bind(std::env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router(App { tenants })).await?;
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/boards", get(boards).post(add_board))
        .route("/boards/{board}/notes", get(notes).post(add_note))
        .route("/notes/{note}", get(note).delete(remove_note))
        .with_state(app)
}

async fn boards(here: Here) -> Result<Json<Vec<Board>>, Problem> {
    let mut tx = here.begin().await?;
    let boards = sqlx::query_as("select id, name from boards order by name").fetch_all(&mut *tx).await?;
    Ok(Json(boards))
}

async fn add_board(here: Here, Json(new): Json<Board>) -> Result<Json<Board>, Problem> {
    let mut tx = here.begin().await?;
    let add = sqlx::query_as("insert into boards (name) values ($1) returning id, name").bind(new.name);
    let board = add.fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(Json(board))
}

async fn notes(here: Here, Path(board): Path<Uuid>) -> Result<Json<Vec<Note>>, Problem> {
    let mut tx = here.begin().await?;
    let notes = sqlx::query_as("select id, body from notes where board_id = $1 order by body").bind(board);
    Ok(Json(notes.fetch_all(&mut *tx).await?))
}

async fn add_note(here: Here, Path(board): Path<Uuid>, Json(new): Json<Note>) -> Result<Json<Note>, Problem> {
    let mut tx = here.begin().await?;
    let add = sqlx::query_as("insert into notes (board_id, body) values ($1, $2) returning id, body");
    let note = add.bind(board).bind(new.body).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(Json(note))
}

async fn note(here: Here, Path(note): Path<Uuid>) -> Result<Json<Note>, Problem> {
    let mut tx = here.begin().await?;
    let found = sqlx::query_as("select id, body from notes where id = $1").bind(note);
    Ok(Json(found.fetch_optional(&mut *tx).await?.ok_or(Problem(StatusCode::NOT_FOUND))?))
}

async fn remove_note(here: Here, Path(note): Path<Uuid>) -> Result<StatusCode, Problem> {
    let mut tx = here.begin().await?;
    let done = sqlx::query("delete from notes where id = $1").bind(note).execute(&mut *tx).await?;
    tx.commit().await?;
    match done.rows_affected() {
        0 => Err(Problem(StatusCode::NOT_FOUND)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// What went wrong, as far as the client may know.
struct Problem(StatusCode);

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        Self(error.status())
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        // A name that is taken, a board that is not there. Which constraint it was is nobody's business.
        Self(if error.is_conflict() { StatusCode::CONFLICT } else { StatusCode::INTERNAL_SERVER_ERROR })
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        error.storage().clone().into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
