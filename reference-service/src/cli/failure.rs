//! What a command fails with, said in one sentence: what happened, why, and what to do about it.

use std::{error::Error, sync::Arc};

use formwork_tenancy::local_postgres::LocalPostgresError;

use crate::databases::DatabaseError;

/// What a command may fail with; its text is for people.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What [`StorageError`](formwork_tenancy::StorageError) says of itself.
const STORAGE: &str = "the database did not do what was asked";

/// The error, its causes in parentheses, each once, then the remedy that none of them names.
pub(super) fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut remedy = None;
    let mut next = Some(error);
    while let Some(layer) = next {
        // Below the driver's error there is only its own text again.
        next = layer.source().filter(|_| driver(layer).is_none());
        let text = text_of(layer);
        if !text.is_empty() && !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        remedy = remedy.or_else(|| remedy_of(layer));
    }
    let (head, causes) = said.split_first().map_or((String::new(), String::new()), |(head, causes)| {
        let causes = causes.join(": ");
        (head.clone(), if causes.is_empty() { causes } else { format!(" ({causes})") })
    });
    let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
    format!("{head}{causes}{remedy}")
}

/// The database driver's own error, which a storage error shares.
fn driver<'a>(layer: &'a (dyn Error + 'static)) -> Option<&'a sqlx::Error> {
    layer.downcast_ref::<Arc<sqlx::Error>>().map(Arc::as_ref).or_else(|| layer.downcast_ref())
}

/// The layer's own text, as far as it says something to people.
fn text_of(layer: &(dyn Error + 'static)) -> String {
    match driver(layer) {
        Some(sqlx::Error::Database(error)) => format!("Postgres says `{}`", error.message()),
        Some(sqlx::Error::PoolTimedOut) => "it gave no connection in time".to_owned(),
        Some(sqlx::Error::Io(error)) => format!("the connection to Postgres failed: {error}"),
        Some(error) => error.to_string(),
        // However wrapped, it says no more than its cause.
        None => Some(layer.to_string()).filter(|text| text != STORAGE).unwrap_or_default(),
    }
}

fn remedy_of(layer: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(DatabaseError::Local(LocalPostgresError::Folder(_))) = layer.downcast_ref() {
        return Some("repair that, or name another folder with --state-dir");
    }
    let Some(sqlx::Error::Database(error)) = driver(layer) else { return None };
    match &*error.code()? {
        // No such schema, table, column or function.
        "3F000" | "42P01" | "42703" | "42883" => {
            Some("run `formwork migrate`, which brings the database up to date")
        }
        // What the service may do it does; the rest is the owner's.
        "42501" => Some("name the login that owns the database in `DATABASE_OWNER_URL`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use formwork_tenancy::StorageError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Failure>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let inner = |source: Option<Failure>, text| Some(Layer { text, source }.into());
        let (first, rest) = texts.split_first().unwrap();
        Layer { text: first, source: rest.iter().rev().copied().fold(None, inner) }
    }

    #[test]
    fn a_cause_is_said_once() {
        assert_eq!(sentence(&layers(&["it failed", "no disk"])), "it failed (no disk)");
        assert_eq!(sentence(&layers(&["it failed: no disk", "no disk"])), "it failed: no disk");
    }

    #[test]
    fn a_layer_without_news_is_left_out() {
        let storage = StorageError::from(sqlx::Error::PoolTimedOut);
        assert_eq!(storage.to_string(), STORAGE);
        let layer = Layer { text: "the batch is not stored", source: Some(storage.into()) };
        assert_eq!(sentence(&layer), "the batch is not stored (it gave no connection in time)");
    }
}
