//! The Postgres of a test program.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::local_postgres::{LocalPostgres, PgBinaries};

static CLUSTER: OnceCell<LocalPostgres> = OnceCell::const_new();

/// This process's cluster, started when first asked for.
pub async fn cluster() -> &'static LocalPostgres {
    CLUSTER
        .get_or_init(|| async {
            let named = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
            let binaries = PgBinaries::find(named.as_deref()).expect("Postgres binaries are installed");
            LocalPostgres::temporary(binaries).await.expect("a private Postgres starts")
        })
        .await
}
