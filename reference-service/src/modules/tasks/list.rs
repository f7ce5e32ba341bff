//! `GET /api/v1/tasks?board_id=X&view=kanban|list`.
//!
//! Whoever sees a board sees its tasks. As a list, tasks come by position, with a cursor. By column, each column
//! has its first tasks, how many there are in all, and the cursor by which the list goes on in that column.

use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{COLUMNS, Task, board, board_object};
use crate::http::{
    caller::{Caller, Work},
    error::ApiError,
    extract::{Json, Query},
    page::{self, Listed, PageInfo},
};

/// Which board, seen how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    board_id: Uuid,
    /// `list` when absent.
    #[serde(default)]
    view: View,
    /// Only this column, in the list.
    column_id: Option<Uuid>,
    /// Rows in the page, or in each column: 1 to 200; 50 when absent.
    limit: Option<usize>,
    /// `next_cursor` of the page before, in the list.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum View {
    Kanban,
    #[default]
    List,
}

/// A board by column.
#[derive(Debug, Serialize, JsonSchema)]
struct Kanban {
    board_id: Uuid,
    columns: Vec<KanbanColumn>,
    /// Tasks of the board that stand in no column.
    unplaced: Unplaced,
}

#[derive(Debug, Serialize, JsonSchema)]
struct KanbanColumn {
    #[serde(flatten)]
    column: board::Column,
    task_count: i64,
    tasks: Vec<Task>,
    page: PageInfo,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct Unplaced {
    task_count: i64,
}

/// The last task that was given. The number by its bits: as decimal text it would come back as one beside it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position(u64, Uuid);

pub(super) async fn list(caller: Caller, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    let limit = page::limit(asked.limit)?;
    let after: Option<Position> = page::decode(asked.cursor.as_deref())?;
    let mut work = caller.begin_read().await?;
    work.authorize(&board_object(asked.board_id)).await?;
    match asked.view {
        View::List => {
            if let Some(column) = asked.column_id {
                must_be_column(&mut work, asked.board_id, column).await?;
            }
            let tasks = fetch(&mut work, asked.board_id, asked.column_id, after, limit + 1).await?;
            Ok(Json(paged(tasks, limit)).into_response())
        }
        View::Kanban if asked.cursor.is_some() || asked.column_id.is_some() => {
            Err(ApiError::invalid("view", "a column goes on as `view=list&column_id=...&cursor=...`"))
        }
        View::Kanban => Ok(Json(kanban(&mut work, asked.board_id, limit).await?).into_response()),
    }
}

async fn must_be_column(work: &mut Work, board: Uuid, column: Uuid) -> Result<(), ApiError> {
    sqlx::query("select id from task_columns where board_id = $1 and id = $2")
        .bind(board)
        .bind(column)
        .fetch_optional(&mut ***work)
        .await?
        .map(drop)
        .ok_or_else(|| ApiError::invalid("column_id", "is no column of this board"))
}

fn paged(mut tasks: Vec<Task>, limit: usize) -> Listed<Task> {
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let next =
        tasks.last().filter(|_| more).map(|task| page::encode(&Position(task.position.to_bits(), task.id)));
    Listed::new(tasks, next)
}

async fn fetch(
    work: &mut Work,
    board: Uuid,
    column: Option<Uuid>,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<Task>, ApiError> {
    let sql = format!(
        "select {COLUMNS} from tasks
          where board_id = $1 and deleted_at is null and ($2::uuid is null or column_id = $2)
            and ($4::uuid is null or (position, id) > ($3, $4))
          order by position, id limit $5"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(board)
        .bind(column)
        .bind(after.map(|Position(position, _)| f64::from_bits(position)))
        .bind(after.map(|Position(_, id)| id))
        .bind(limit as i64)
        .fetch_all(&mut ***work)
        .await?)
}

#[derive(FromRow)]
struct Counted {
    column_id: Option<Uuid>,
    task_count: i64,
}

async fn kanban(work: &mut Work, board: Uuid, limit: usize) -> Result<Kanban, ApiError> {
    let columns = board::columns(work, board).await?;
    let counts: Vec<Counted> = sqlx::query_as(
        "select column_id, count(*) as task_count from tasks
          where board_id = $1 and deleted_at is null group by column_id",
    )
    .bind(board)
    .fetch_all(&mut ***work)
    .await?;
    let count = |id: Option<Uuid>| counts.iter().find(|c| c.column_id == id).map_or(0, |c| c.task_count);
    let mut tasks = first_of_each(work, board, limit + 1).await?;
    let columns = columns.into_iter().map(|column| {
        let (own, rest): (Vec<Task>, Vec<Task>) =
            std::mem::take(&mut tasks).into_iter().partition(|task| task.column_id == Some(column.id));
        tasks = rest;
        let Listed { data, page } = paged(own, limit);
        KanbanColumn { task_count: count(Some(column.id)), column, tasks: data, page }
    });
    Ok(Kanban { board_id: board, columns: columns.collect(), unplaced: Unplaced { task_count: count(None) } })
}

async fn first_of_each(work: &mut Work, board: Uuid, limit: usize) -> Result<Vec<Task>, ApiError> {
    let sql = format!(
        "select {COLUMNS} from (
           select *, row_number() over (partition by column_id order by position, id) as place
             from tasks where board_id = $1 and column_id is not null and deleted_at is null) t
          where place <= $2 order by position, id"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(board).bind(limit as i64).fetch_all(&mut ***work).await?)
}
