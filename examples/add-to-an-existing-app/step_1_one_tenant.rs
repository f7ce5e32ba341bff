//! Boards and notes, still for one customer, but behind the walls: each request is a transaction of its tenant.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use formwork_tenancy::{Actor, CommitError, Session, StorageError, TenantTx, Tenants};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tokio::net::TcpListener;
use uuid::Uuid;

#[derive(Clone)]
struct App {
    tenants: Tenants,
    session: Session,
}

impl App {
    async fn begin(&self) -> Result<TenantTx, StorageError> {
        self.tenants.begin(&self.session).await
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
    let tenants = Tenants::builder().connect(&std::env::var("DATABASE_URL")?).await?;
    let tenant = tenants.by_slug("first").await?.ok_or("run step_1_adopt first")?;
    let session = Session::new(&tenant, Actor::system("notes"));
    let listener = TcpListener::bind(std::env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router(App { tenants, session })).await?;
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/boards", get(boards).post(add_board))
        .route("/boards/{board}/notes", get(notes).post(add_note))
        .route("/notes/{note}", get(note).delete(remove_note))
        .with_state(app)
}

async fn boards(State(app): State<App>) -> Result<Json<Vec<Board>>, Problem> {
    let mut tx = app.begin().await?;
    let boards = sqlx::query_as("select id, name from boards order by name").fetch_all(&mut *tx).await?;
    Ok(Json(boards))
}

async fn add_board(State(app): State<App>, Json(new): Json<Board>) -> Result<Json<Board>, Problem> {
    let mut tx = app.begin().await?;
    let add = sqlx::query_as("insert into boards (name) values ($1) returning id, name").bind(new.name);
    let board = add.fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(Json(board))
}

async fn notes(State(app): State<App>, Path(board): Path<Uuid>) -> Result<Json<Vec<Note>>, Problem> {
    let mut tx = app.begin().await?;
    let notes = sqlx::query_as("select id, body from notes where board_id = $1 order by body").bind(board);
    Ok(Json(notes.fetch_all(&mut *tx).await?))
}

async fn add_note(
    State(app): State<App>,
    Path(board): Path<Uuid>,
    Json(new): Json<Note>,
) -> Result<Json<Note>, Problem> {
    let mut tx = app.begin().await?;
    let add = sqlx::query_as("insert into notes (board_id, body) values ($1, $2) returning id, body");
    let note = add.bind(board).bind(new.body).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(Json(note))
}

async fn note(State(app): State<App>, Path(note): Path<Uuid>) -> Result<Json<Note>, Problem> {
    let mut tx = app.begin().await?;
    let found = sqlx::query_as("select id, body from notes where id = $1").bind(note);
    Ok(Json(found.fetch_optional(&mut *tx).await?.ok_or(Problem(StatusCode::NOT_FOUND))?))
}

async fn remove_note(State(app): State<App>, Path(note): Path<Uuid>) -> Result<StatusCode, Problem> {
    let mut tx = app.begin().await?;
    let done = sqlx::query("delete from notes where id = $1").bind(note).execute(&mut *tx).await?;
    tx.commit().await?;
    match done.rows_affected() {
        0 => Err(Problem(StatusCode::NOT_FOUND)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// What went wrong, as far as the client may know.
struct Problem(StatusCode);

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
