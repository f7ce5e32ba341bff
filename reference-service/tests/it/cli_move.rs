//! `formwork tenant move`, with a second database that the environment names.

use std::process::Command;

use formwork_service::databases::sets;
use formwork_tenancy::{
    local_postgres::LocalRole,
    testing::{TestDatabase, cluster},
};
use sqlx::{Connection, PgConnection};

use crate::cli::{Done, Home};

pub(crate) struct Two {
    pub(crate) home: Home,
    db: TestDatabase,
}

impl Two {
    pub(crate) async fn new() -> Self {
        let db = TestDatabase::with_databases(&sets(), &["eu-west"]).await;
        db.tenants().close().await;
        Self { home: Home::new(), db }
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.command(arguments).await)
    }

    /// The main database, for this login.
    pub(crate) async fn url(&self, role: LocalRole) -> String {
        cluster().await.url_of(role, self.db.name())
    }

    /// The program, told of both databases.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Command {
        let cluster = cluster().await;
        let mut command = self.home.formwork(arguments);
        let eu = self.db.options_of("eu-west", LocalRole::App).await;
        let eu = eu.get_database().unwrap().to_owned();
        command
            .env("DATABASE_URL", cluster.url_of(LocalRole::App, self.db.name()))
            .env("DATABASE_OWNER_URL", cluster.url_of(LocalRole::Owner, self.db.name()))
            .env("FORMWORK_DATABASES", "eu-west")
            .env("DATABASE_EU_WEST_URL", cluster.url_of(LocalRole::App, &eu))
            .env("DATABASE_EU_WEST_OWNER_URL", cluster.url_of(LocalRole::Owner, &eu));
        command
    }

    /// Runs statements in the main database as somebody whom no rule holds.
    pub(crate) async fn superuser(&self, sql: &str) {
        let options = self.db.options_of("main", LocalRole::Superuser).await;
        let mut superuser = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut superuser).await.unwrap();
    }

    pub(crate) async fn members(&self, database: &str) -> i64 {
        let options = self.db.options_of(database, LocalRole::Superuser).await;
        let mut superuser = PgConnection::connect_with(&options).await.unwrap();
        let count = "select count(*) from shared.members";
        sqlx::query_scalar(count).fetch_one(&mut superuser).await.unwrap()
    }
}

#[tokio::test]
async fn a_tenant_is_moved_to_another_database_and_back() {
    let two = Two::new().await;
    two.run(&["tenant", "create", "acme", "--isolation", "shared"]).await.ok();
    two.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
    assert_eq!((two.members("main").await, two.members("eu-west").await), (1, 0));

    let moved = two.run(&["tenant", "move", "acme", "--to", "database:eu-west:shared", "--json"]).await.ok();

    let report: serde_json::Value = serde_json::from_str(&moved.out).unwrap();
    assert_eq!((&report["from"], &report["to"]), (&"main/shared".into(), &"eu-west/shared".into()));
    assert_eq!(report["outcome"], "moved");
    let members = report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "members");
    assert_eq!(members.unwrap()["rows"], 1);
    assert_eq!((two.members("main").await, two.members("eu-west").await), (1, 1));

    let early = two.run(&["tenant", "move", "acme", "--finish", "--grace", "3600"]).await;
    assert_eq!(early.code, Some(1));
    assert!(early.err.contains("may still be read"), "{early:?}");
    two.run(&["tenant", "move", "acme", "--finish", "--grace", "0"]).await.ok();
    assert_eq!((two.members("main").await, two.members("eu-west").await), (0, 1));
    two.run(&["doctor"]).await.ok();

    let again = two.run(&["tenant", "move", "acme", "--to", "database:eu-west:shared"]).await;
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("lives there already"), "{again:?}");
    let back = two.run(&["tenant", "move", "acme", "--to", "shared"]).await.ok();

    assert!(back.out.contains("`acme` is moved from eu-west/shared to main/shared"), "{back:?}");
    let unknown = two.run(&["tenant", "move", "acme", "--to", "database:us"]).await;
    assert!(unknown.err.contains("`us` is not known here"), "{unknown:?}");
    let both = two.run(&["tenant", "move", "acme", "--to", "schema", "--abort"]).await;
    assert_eq!(both.code, Some(2));
}
