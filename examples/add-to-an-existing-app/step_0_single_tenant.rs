//! Boards and notes, for one customer: the service as it was found.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use tokio::net::TcpListener;
use uuid::Uuid;

type App = PgPool;

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
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    let listener = TcpListener::bind(std::env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router(pool)).await?;
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/boards", get(boards).post(add_board))
        .route("/boards/{board}/notes", get(notes).post(add_note))
        .route("/notes/{note}", get(note).delete(remove_note))
        .with_state(app)
}

async fn boards(State(pool): State<App>) -> Result<Json<Vec<Board>>, Problem> {
    let boards = sqlx::query_as("select id, name from boards order by name").fetch_all(&pool).await?;
    Ok(Json(boards))
}

async fn add_board(State(pool): State<App>, Json(new): Json<Board>) -> Result<Json<Board>, Problem> {
    let add = sqlx::query_as("insert into boards (name) values ($1) returning id, name").bind(new.name);
    Ok(Json(add.fetch_one(&pool).await?))
}

async fn notes(State(pool): State<App>, Path(board): Path<Uuid>) -> Result<Json<Vec<Note>>, Problem> {
    let notes = sqlx::query_as("select id, body from notes where board_id = $1 order by body").bind(board);
    Ok(Json(notes.fetch_all(&pool).await?))
}

async fn add_note(
    State(pool): State<App>,
    Path(board): Path<Uuid>,
    Json(new): Json<Note>,
) -> Result<Json<Note>, Problem> {
    let add = sqlx::query_as("insert into notes (board_id, body) values ($1, $2) returning id, body");
    Ok(Json(add.bind(board).bind(new.body).fetch_one(&pool).await?))
}

async fn note(State(pool): State<App>, Path(note): Path<Uuid>) -> Result<Json<Note>, Problem> {
    let found = sqlx::query_as("select id, body from notes where id = $1").bind(note);
    Ok(Json(found.fetch_optional(&pool).await?.ok_or(Problem(StatusCode::NOT_FOUND))?))
}

async fn remove_note(State(pool): State<App>, Path(note): Path<Uuid>) -> Result<StatusCode, Problem> {
    let done = sqlx::query("delete from notes where id = $1").bind(note).execute(&pool).await?;
    match done.rows_affected() {
        0 => Err(Problem(StatusCode::NOT_FOUND)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// What went wrong, as far as the client may know.
struct Problem(StatusCode);

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        // A name that is taken, a board that is not there.
        let refused = error.as_database_error().is_some_and(|error| error.constraint().is_some());
        Self(if refused { StatusCode::CONFLICT } else { StatusCode::INTERNAL_SERVER_ERROR })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
