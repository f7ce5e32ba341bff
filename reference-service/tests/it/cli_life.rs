//! `formwork tenant suspend`, `delete`, `hold`, `impersonate` and the like, run as an operator runs them.

use formwork_service::databases::sets;
use formwork_tenancy::{
    local_postgres::LocalRole,
    testing::{TestDatabase, cluster},
};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::cli::{Done, Home};

struct Office {
    home: Home,
    db: TestDatabase,
}

impl Office {
    async fn new() -> Self {
        let db = TestDatabase::new(&sets()).await;
        db.tenants().close().await;
        let office = Self { home: Home::new(), db };
        office.run(&["tenant", "create", "acme"]).await.ok();
        office.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
        office
    }

    async fn run(&self, arguments: &[&str]) -> Done {
        let cluster = cluster().await;
        let mut command = self.home.formwork(arguments);
        command
            .env("USER", "carol")
            .env("DATABASE_URL", cluster.url_of(LocalRole::App, self.db.name()))
            .env("DATABASE_OWNER_URL", cluster.url_of(LocalRole::Owner, self.db.name()));
        Done::of(&mut command)
    }

    async fn because(&self, arguments: &[&str]) -> Done {
        let mut all = vec!["tenant"];
        all.extend(arguments);
        all.extend(["--reason", "ticket 4711"]);
        self.run(&all).await
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        let options = self.db.options(LocalRole::Superuser).await;
        let mut superuser = PgConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut superuser).await.unwrap()
    }
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.out).unwrap()
}

#[tokio::test]
async fn a_tenant_is_led_through_its_life() {
    let office = Office::new().await;
    let silent = office.run(&["tenant", "suspend", "acme"]).await;
    assert_eq!(silent.sentence(), "say why, with --reason TEXT");
    for (command, status) in
        [("suspend", "suspended"), ("activate", "active"), ("archive", "archived"), ("restore", "active")]
    {
        let done = office.because(&[command, "acme", "--json"]).await.ok();
        assert_eq!((&json(&done)["status"], &json(&done)["changed"]), (&status.into(), &true.into()));
    }
    let again = office.because(&["activate", "acme"]).await.ok();
    assert_eq!(again.out.trim(), "`acme`: the tenant is active already");
    let wrong = office.because(&["undelete", "acme"]).await;
    assert!(wrong.sentence().contains("`undelete` leads nowhere"), "{wrong:?}");
    let nobody = office.because(&["suspend", "nobody"]).await;
    assert!(nobody.sentence().contains("there is no tenant `nobody`"), "{nobody:?}");

    let history = office.run(&["tenant", "history", "acme", "--json"]).await.ok();
    let changes: Vec<Value> =
        json(&history).as_array().unwrap().iter().map(|past| past["transition"].clone()).collect();
    assert_eq!(changes, ["suspend", "activate", "archive", "restore"]);
    let table = office.run(&["tenant", "history", "acme"]).await.ok();
    assert!(table.out.contains("system:carol: ticket 4711"), "{table:?}");
    let trail = office
        .texts("select action || ' by ' || actor_id || ': ' || reason from shared.audit_events where action like 'tenant.%' order by at")
        .await;
    assert_eq!(trail.first().unwrap(), "tenant.suspended by carol: ticket 4711");
    assert_eq!(trail.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_confirmed_and_held_tenants_stay() {
    let office = Office::new().await;
    let unconfirmed = office.because(&["delete", "acme"]).await;
    assert!(unconfirmed.sentence().contains("Confirm it with --yes"), "{unconfirmed:?}");
    let held = office.because(&["hold", "acme", "--for", "court of Kuwait", "--json"]).await.ok();
    let hold = json(&held)["id"].as_str().unwrap().to_owned();
    let refused = office.because(&["delete", "acme", "--yes"]).await;
    assert!(refused.sentence().contains("legal hold by court of Kuwait (ticket 4711)"), "{refused:?}");
    let holds = office.run(&["tenant", "holds", "acme"]).await.ok();
    assert!(holds.out.contains(&hold) && holds.out.contains("system:carol"), "{holds:?}");
    office.because(&["release", &hold]).await.ok();

    office.because(&["delete", "acme", "--yes"]).await.ok();
    let early = office.because(&["purge", "acme", "--yes"]).await;
    assert!(early.sentence().contains("can be brought back until"), "{early:?}");
    office.because(&["undelete", "acme"]).await.ok();
    office.because(&["delete", "acme", "--yes", "--grace", "0"]).await.ok();
    let unconfirmed = office.because(&["purge", "acme"]).await;
    assert!(unconfirmed.sentence().contains("no backup of it opens"), "{unconfirmed:?}");
    let purged = office.because(&["purge", "acme", "--yes", "--json"]).await.ok();
    assert_eq!(json(&purged)["status"], "deleted");
    assert!(json(&purged)["removed_rows"].as_u64().unwrap() > 0, "{purged:?}");
    assert_eq!(office.texts("select id::text from shared.audit_events").await, [""; 0]);
    assert_eq!(office.texts("select user_id::text from shared.members").await, [""; 0]);
    let taken = office.run(&["tenant", "create", "acme"]).await;
    assert!(taken.sentence().contains("`acme` is taken"), "{taken:?}");
    let nothing = office.run(&["tenant", "resume", "acme"]).await;
    assert!(nothing.sentence().contains("nothing to be resumed"), "{nothing:?}");
    office.run(&["doctor"]).await.ok();
}

#[tokio::test]
async fn leave_is_given_to_act_as_a_member_and_taken_back() {
    let office = Office::new().await;
    let stranger =
        office.because(&["impersonate", "acme", "root@example.com", "--as", "bob@acme.example"]).await;
    assert!(stranger.sentence().contains("`bob@acme.example` is no active member of `acme`"), "{stranger:?}");
    let leave = ["impersonate", "acme", "root@example.com", "--as", "ada@acme.example", "--json"];
    let given = json(&office.because(&leave).await.ok());
    let grant = given["grant"].as_str().unwrap();
    let rows = office
        .texts("select reason || ' by ' || granted_by from platform.administrator_grants where impersonates is not null")
        .await;
    assert_eq!(rows, ["ticket 4711 by system:carol"]);
    let revoked = office.run(&["tenant", "revoke", grant]).await.ok();
    assert!(revoked.out.contains("is revoked"), "{revoked:?}");
    let again = office.run(&["tenant", "revoke", grant]).await.ok();
    assert!(again.out.contains("was not in force"), "{again:?}");
    let plain = office.because(&["impersonate", "acme", "root@example.com"]).await.ok();
    assert!(plain.out.contains("as an administrator for 60 minutes"), "{plain:?}");
}
