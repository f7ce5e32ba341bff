//! Places in a column: numbers between which there is always room.
//!
//! A task that is put between two others gets the number half way. When halves become too small, the column is
//! numbered anew in the same transaction. Whoever changes a column's order holds its row, so moves into one
//! column are one after the other.

use sqlx::FromRow;
use uuid::Uuid;

use crate::http::{caller::Work, error::ApiError};

/// Between two neighbours, freshly numbered.
pub(super) const STEP: f64 = 1024.0;
/// Below this there is no half way left.
const MIN_GAP: f64 = 1e-9;

/// Where a task goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) column: Option<Uuid>,
    pub(super) position: f64,
    /// What the task becomes there.
    pub(super) status: Option<String>,
}

/// A column whose row this transaction holds.
#[derive(Debug, FromRow)]
pub(super) struct HeldColumn {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) status: Option<String>,
    pub(super) wip_limit: Option<i32>,
}

/// The end of a column; of the board's first when none is named; nowhere without a board.
pub(super) async fn end_of(
    work: &mut Work,
    board: Option<Uuid>,
    column: Option<Uuid>,
) -> Result<Place, ApiError> {
    let Some(board) = board else {
        return match column {
            None => Ok(Place::default()),
            Some(_) => Err(ApiError::invalid("/column_id", "needs the `board_id` that it belongs to")),
        };
    };
    let Some(column) = hold(work, board, column).await? else {
        return match column {
            None => Ok(Place::default()),
            Some(_) => Err(ApiError::invalid("/column_id", "is no column of this board")),
        };
    };
    refuse_over_limit(work, &column, None).await?;
    let position = last(work, column.id).await? + STEP;
    Ok(Place { column: Some(column.id), position, status: column.status })
}

/// Holds a column's row until the transaction ends.
pub(super) async fn hold(
    work: &mut Work,
    board: Uuid,
    column: Option<Uuid>,
) -> Result<Option<HeldColumn>, ApiError> {
    Ok(sqlx::query_as(
        "select id, name, status, wip_limit from task_columns
          where board_id = $1 and ($2::uuid is null or id = $2) order by position, id limit 1 for update",
    )
    .bind(board)
    .bind(column)
    .fetch_optional(&mut ***work)
    .await?)
}

/// A column with a limit takes no more tasks than that; one that is in it already does not count twice.
pub(super) async fn refuse_over_limit(
    work: &mut Work,
    column: &HeldColumn,
    moved: Option<Uuid>,
) -> Result<(), ApiError> {
    let Some(limit) = column.wip_limit else { return Ok(()) };
    let others: i64 = sqlx::query_scalar(
        "select count(*) from tasks where column_id = $1 and deleted_at is null and id is distinct from $2",
    )
    .bind(column.id)
    .bind(moved)
    .fetch_one(&mut ***work)
    .await?;
    if others >= i64::from(limit) {
        let detail = format!("column `{}` takes {limit} tasks: finish one first", column.name);
        return Err(ApiError::conflict("wip-limit", detail));
    }
    Ok(())
}

async fn last(work: &mut Work, column: Uuid) -> Result<f64, ApiError> {
    Ok(sqlx::query_scalar(
        "select coalesce(max(position), 0) from tasks where column_id = $1 and deleted_at is null",
    )
    .bind(column)
    .fetch_one(&mut ***work)
    .await?)
}

/// The place right before `before`, right after `after`, between the two, or at the end.
pub(super) async fn between(
    work: &mut Work,
    column: Uuid,
    moved: Uuid,
    before: Option<Uuid>,
    after: Option<Uuid>,
) -> Result<f64, ApiError> {
    if let Some(position) = gap(work, column, moved, before, after).await? {
        return Ok(position);
    }
    renumber(work, column).await?;
    let position = gap(work, column, moved, before, after).await?;
    position.ok_or_else(|| ApiError::internal("a column that was numbered anew has no room"))
}

/// Half way between the neighbours, if that is a place of its own. What is named on both sides need not be
/// adjacent: then the place is right after the upper one, and the nearest task below bounds it.
async fn gap(
    work: &mut Work,
    column: Uuid,
    moved: Uuid,
    before: Option<Uuid>,
    after: Option<Uuid>,
) -> Result<Option<f64>, ApiError> {
    let lower = match after {
        Some(id) => Some(position_of(work, column, id, "/after_id").await?),
        None => match before {
            Some(id) => {
                let upper = position_of(work, column, id, "/before_id").await?;
                neighbour(work, column, moved, upper, false).await?
            }
            None => Some(last(work, column).await?),
        },
    };
    let bound = match before {
        Some(id) => Some(position_of(work, column, id, "/before_id").await?),
        None => None,
    };
    if let (Some(_), Some(lower), Some(bound)) = (after, lower, bound)
        && bound < lower
    {
        return Err(ApiError::invalid("/before_id", "must stand after the task in `after_id`"));
    }
    let upper = match (after, lower) {
        (Some(_), Some(lower)) if bound != Some(lower) => neighbour(work, column, moved, lower, true).await?,
        _ => bound,
    };
    Ok(match (lower, upper) {
        (Some(lower), Some(upper)) => half_way(lower, upper),
        (Some(lower), None) => Some(lower + STEP),
        (None, Some(upper)) => Some(upper - STEP),
        (None, None) => Some(STEP),
    })
}

/// None when it would be too near to either, or be one of them: numbers lie further apart the larger they are.
fn half_way(lower: f64, upper: f64) -> Option<f64> {
    let middle = lower + (upper - lower) / 2.0;
    (upper - lower > MIN_GAP && lower < middle && middle < upper).then_some(middle)
}

async fn position_of(work: &mut Work, column: Uuid, task: Uuid, pointer: &str) -> Result<f64, ApiError> {
    sqlx::query_scalar("select position from tasks where id = $1 and column_id = $2 and deleted_at is null")
        .bind(task)
        .bind(column)
        .fetch_optional(&mut ***work)
        .await?
        .ok_or_else(|| ApiError::invalid(pointer, "is no task of this column"))
}

/// The nearest position above or below, the moved task apart.
async fn neighbour(
    work: &mut Work,
    column: Uuid,
    moved: Uuid,
    position: f64,
    above: bool,
) -> Result<Option<f64>, ApiError> {
    let sql = if above {
        "select min(position) from tasks
          where column_id = $1 and deleted_at is null and id <> $2 and position > $3"
    } else {
        "select max(position) from tasks
          where column_id = $1 and deleted_at is null and id <> $2 and position < $3"
    };
    Ok(sqlx::query_scalar(sql).bind(column).bind(moved).bind(position).fetch_one(&mut ***work).await?)
}

async fn renumber(work: &mut Work, column: Uuid) -> Result<(), ApiError> {
    sqlx::query(
        "update tasks t set position = n.place * $2
           from (select id, row_number() over (order by position, id) as place
                   from tasks where column_id = $1 and deleted_at is null) n
          where t.id = n.id",
    )
    .bind(column)
    .bind(STEP)
    .execute(&mut ***work)
    .await?;
    Ok(())
}
