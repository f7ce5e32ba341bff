//! Tasks, on boards with columns.

mod board;
mod create;
mod list;
mod position;
mod rearrange;
mod show;

use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use formwork_authz::Object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Linkable, Module};
use crate::http::route::{Access, Route};

/// Tasks and their boards.
pub const MODULE: Module = Module {
    name: "tasks",
    dependencies: &["members", "projects"],
    permissions: include_str!("permissions.zed"),
    linkable: &[
        Linkable {
            kind: "task",
            collection: "tasks",
            existing: "select id from tasks where id = any($1) and deleted_at is null for share",
        },
        Linkable {
            kind: "board",
            collection: "task-boards",
            existing: "select id from task_boards where id = any($1) and deleted_at is null for share",
        },
    ],
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/v1/task-boards", Access::permission("create_task", "organization"), board::create)
            .summary("Make a board, with its columns")
            .body::<board::NewBoard>()
            .returns::<board::BoardView>(StatusCode::CREATED),
        Route::get("/api/v1/task-boards/{id}", Access::permission("view", "board"), board::show)
            .summary("A board and its columns")
            .returns::<board::BoardView>(StatusCode::OK),
        Route::post(
            "/api/v1/task-boards/{id}/columns",
            Access::permission("configure", "board"),
            board::add_column,
        )
        .summary("Add a column at the end of a board")
        .body::<board::NewColumn>()
        .returns::<board::Column>(StatusCode::CREATED),
        Route::get("/api/v1/tasks", Access::permission("view", "board"), list::list)
            .summary("The tasks of a board, as a list or by column (`view=kanban`)")
            .query::<list::Asked>()
            .returns::<Value>(StatusCode::OK),
        Route::post("/api/v1/tasks", Access::permission("create_task", "organization"), create::create)
            .summary("Make a task; on a board, the permission `edit` on the board is needed as well")
            .body::<create::NewTask>()
            .returns::<Task>(StatusCode::CREATED),
        Route::get("/api/v1/tasks/{id}", Access::permission("view", "task"), show::show)
            .summary("A task")
            .returns::<Task>(StatusCode::OK),
        Route::post(
            "/api/v1/tasks/{id}/subtasks",
            Access::permission("edit", "task"),
            create::create_subtask,
        )
        .summary("Make a task below another one")
        .body::<create::NewTask>()
        .returns::<Task>(StatusCode::CREATED),
        Route::patch("/api/v1/tasks/{id}/move", Access::permission("move", "task"), rearrange::rearrange)
            .summary("Move a task to a place in a column of its board")
            .body::<rearrange::Place>()
            .returns::<Task>(StatusCode::OK),
    ]
}

/// Columns of [`Task`].
const COLUMNS: &str = "id, title, description, status, priority, due_date, board_id, column_id, position, parent_id, \
    metadata, assignee_id, created_by, created_at, updated_at, version";

/// A task.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
pub struct Task {
    id: Uuid,
    title: String,
    description: Option<String>,
    status: String,
    priority: Option<String>,
    due_date: Option<NaiveDate>,
    board_id: Option<Uuid>,
    column_id: Option<Uuid>,
    position: f64,
    parent_id: Option<Uuid>,
    metadata: Value,
    assignee_id: Option<Uuid>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Priority {
    Low,
    Medium,
    High,
    Critical,
}

impl Priority {
    fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TaskStatus {
    Todo,
    InProgress,
    InReview,
    Done,
    Blocked,
    Void,
}

impl TaskStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::InReview => "in_review",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::Void => "void",
        }
    }
}

fn object(id: Uuid) -> Object {
    Object::new("task", id)
}

fn board_object(id: Uuid) -> Object {
    Object::new("board", id)
}
