//! Events whose time is over go under a signed tombstone, and what remains is proven as before.

use chrono::{Duration, Utc};
use formwork_audit::{
    Audit, Event, Filter,
    seal::{InclusionProof, SealError, Sealer},
};
use formwork_tenancy::{
    Actor, HomePlace, Isolation,
    doctor::DoctorConfig,
    lifecycle::{Lifecycle, LifecycleError, LifecycleRefusal, Order},
    local_postgres::LocalRole,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::trail::{Trail, key};

/// Three events of 2024 under the trail's own five.
async fn with_old_events() -> (Trail, Vec<Uuid>, Vec<Uuid>) {
    let trail = Trail::new().await;
    let old: Vec<Uuid> = (0..3).map(|n| old_id(2024, n)).collect();
    trail.insert_old(&old).await;
    let new = trail.record(5).await;
    (trail, old, new)
}

/// A UUIDv7 of the first hours of that year.
fn old_id(year: i32, n: u128) -> Uuid {
    let start =
        chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_time(chrono::NaiveTime::MIN).and_utc();
    Uuid::from_u128((start.timestamp_millis() as u128) << 80 | 0x7000_8000_0000_0000_0000 | n)
}

fn order() -> Order {
    Order::new(&Actor::system("retention"), "kept for a year")
}

#[tokio::test]
async fn what_remains_is_proven_after_old_events_are_gone_and_the_verifier_names_the_tombstone() {
    let (trail, old, new) = with_old_events().await;
    let sealer = Sealer::new(key(1));
    let mut tx = trail.begin().await;
    let tombstone = sealer.bury(&mut tx, Utc::now() - Duration::days(365)).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(tombstone.checkpoint().tombstone().unwrap().events(), 3);
    let number = tombstone.checkpoint().number();
    let proof_of = async |event| {
        let mut tx = trail.begin().await;
        InclusionProof::of(&mut tx, event).await
    };
    let early = proof_of(old[0]).await.unwrap();

    let life = Lifecycle::new(trail.db.control().clone()).batch(2);
    assert_eq!(life.remove_events(trail.tenant.id(), number, &order()).await.unwrap(), 3);
    assert_eq!(life.remove_events(trail.tenant.id(), number, &order()).await.unwrap(), 0, "done again");

    let found = trail.verify().await;
    assert!(found.is_intact(), "{found:?}");
    let [buried] = found.buried() else { panic!("{found:?}") };
    assert_eq!((buried.checkpoint(), buried.gone(), found.events()), (number, 3, 8));
    // What remains is proven as before, and so is what was proven before.
    assert!(proof_of(new[0]).await.unwrap().holds(key(1).public()));
    assert!(early.holds(key(1).public()));
    let gone = proof_of(old[0]).await.unwrap_err();
    assert!(matches!(gone, SealError::Removed { tombstone, .. } if tombstone == number), "{gone}");

    // Sealing goes on, and what goes without a tombstone is named.
    trail.record(1).await;
    trail.seal(&sealer).await.unwrap();
    trail.tamper(&format!("delete from audit_events where id = '{}'", new[0])).await;
    let found = trail.verify().await;
    assert_eq!(found.findings().len(), 1, "{found:?}");
}

#[tokio::test]
async fn a_legal_hold_keeps_what_a_tombstone_would_let_go() {
    let (trail, ..) = with_old_events().await;
    let mut tx = trail.begin().await;
    let sealer = Sealer::new(key(1));
    let tombstone = sealer.bury(&mut tx, Utc::now() - Duration::days(365)).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let life = Lifecycle::new(trail.db.control().clone());
    let number = tombstone.checkpoint().number();
    let hold = life.hold(trail.tenant.id(), "court", &order()).await.unwrap();
    let held = life.remove_events(trail.tenant.id(), number, &order()).await;
    assert!(matches!(held, Err(LifecycleError::Refused(LifecycleRefusal::Held { .. }))), "{held:?}");
    let found = trail.verify().await;
    assert_eq!((found.events(), found.buried()[0].gone()), (8, 0));
    life.release(hold.id(), &order()).await.unwrap();
    assert_eq!(life.remove_events(trail.tenant.id(), number, &order()).await.unwrap(), 3);
}

#[tokio::test]
async fn nothing_goes_without_a_tombstone_and_no_login_of_the_service_removes_anything() {
    let (trail, old, _) = with_old_events().await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    let life = Lifecycle::new(trail.db.control().clone());
    life.remove_events(trail.tenant.id(), 1, &order()).await.unwrap_err();
    for sql in [
        "select remove_audit_events(1, 10)",
        "select drop_audit_partitions()",
        "select make_audit_partition('audit_events', '2020-01-01')",
        "delete from audit_events_before",
    ] {
        let mut tx = trail.begin().await;
        let refused = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{sql}: {refused}");
    }
    let mut tx = trail.begin().await;
    let refused =
        sqlx::query("select set_config('app.removing_events', 'shared', true)").execute(&mut *tx).await;
    refused.unwrap();
    let refused = sqlx::query("delete from audit_events").execute(&mut *tx).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    // The owner himself is refused in every partition.
    let mut owner = PgConnection::connect_with(&trail.db.options(LocalRole::Owner).await).await.unwrap();
    for table in ["audit_events_before", "audit_events_rest"] {
        for what in ["delete from", "truncate"] {
            let sql = format!("{what} shared.{table}");
            let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut owner).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{what} {table}: {refused}");
        }
    }
    assert_eq!(trail.leaves().await.len(), old.len() + 5);
}

#[tokio::test]
async fn partitions_are_made_ahead_take_in_what_came_early_and_go_when_they_are_empty() {
    let trail = Trail::new().await;
    let mut owner = PgConnection::connect_with(&trail.db.options(LocalRole::Owner).await).await.unwrap();
    let parts = "select relname::text from pg_class where relname like 'audit\\_events\\_2_____' order by 1";
    let names = async |owner: &mut PgConnection| -> Vec<String> {
        sqlx::query_scalar(parts).fetch_all(owner).await.unwrap()
    };
    let made = names(&mut owner).await;
    assert_eq!(made.len(), 3, "{made:?}");
    // What nobody has made a partition for yet has a place, and moves into its partition with it.
    let far = old_id(2099, 1);
    trail.insert_old(&[far]).await;
    let place_of = async || -> String {
        let place = "select tableoid::regclass::text from audit_events where id = $1";
        let mut tx = trail.begin().await;
        sqlx::query_scalar(place).bind(far).fetch_one(&mut *tx).await.unwrap()
    };
    assert_eq!(place_of().await, "audit_events_rest");
    sqlx::query("set search_path = shared").execute(&mut owner).await.unwrap();
    let make = "select make_audit_partition('audit_events', '2099-01-15')";
    assert!(sqlx::query_scalar::<_, bool>(make).fetch_one(&mut owner).await.unwrap());
    assert_eq!(place_of().await, "audit_events_209901");
    let mut tx = trail.begin().await;
    // The service asks for those of the next months: they are there.
    let prepared: i32 =
        sqlx::query_scalar("select prepare_audit_partitions()").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(prepared, 0);
    drop(tx);
    // One that is missing is made anew, by whoever seals.
    let last = made.last().unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("drop table {last}"))).execute(&mut owner).await.unwrap();
    let relay = trail.db.relay().await;
    let sealer = Sealer::new(key(1));
    let round = trail.db.tenants().sweep(Sealer::KIND, &relay).full_round(|tx| sealer.visit(tx)).await;
    assert!(round.unwrap().unwrap().failed().is_empty());
    assert!(names(&mut owner).await.contains(last));

    // A month that is over is kept as long as anybody has anything in it, though the owner sees no row of it.
    for sql in [
        "create table audit_events_202001 (like audit_events including defaults including constraints)",
        "select wall_audit_partition('audit_events', 'audit_events_202001')",
        "create table audit_events_202002 (like audit_events including defaults including constraints)",
        "select wall_audit_partition('audit_events', 'audit_events_202002')",
        "alter table audit_events detach partition audit_events_before",
        "alter table audit_events attach partition audit_events_202001 for values from (minvalue) to (audit_id_at('2020-02-01Z'))",
        "alter table audit_events attach partition audit_events_202002
           for values from (audit_id_at('2020-02-01Z')) to (audit_id_at('2020-03-01Z'))",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    trail.insert_old(&[old_id(2020, 1)]).await;
    let life = Lifecycle::new(trail.db.control().clone());
    assert_eq!(life.drop_empty_partitions().await.unwrap(), 1);
    let left = names(&mut owner).await;
    assert!(left.contains(&"audit_events_202001".to_owned()), "{left:?}");
    assert!(!left.contains(&"audit_events_202002".to_owned()), "{left:?}");
}

#[tokio::test]
async fn the_doctor_and_the_comparison_of_homes_find_nothing_amiss_with_partitions() {
    let trail = Trail::new().await;
    trail.db.tenant("b", Isolation::Schema).await;
    let report = trail.db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
    let drift = trail.db.control().fleet().drift().await.unwrap();
    assert!(drift.drifted().is_empty(), "{drift}");
    let mut root = PgConnection::connect_with(&trail.db.options(LocalRole::Superuser).await).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
          where c.relnamespace = 'shared'::regnamespace and c.relname like 'audit\\_events%' and c.relkind in ('r', 'p')
            and (not c.relrowsecurity or not c.relforcerowsecurity
                 or not exists (select from pg_policy p where p.polrelid = c.oid and p.polname like 'tenant\\_isolation%')
                 or not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgenabled = 'A'))",
    )
    .fetch_all(&mut root)
    .await
    .unwrap();
    assert_eq!(open, [""; 0]);
}

/// Out of the partitions into a table, and back: with the tombstone, under which the same events are gone.
#[tokio::test]
async fn a_trail_moves_between_partitions_and_a_home_of_its_own() {
    let (trail, ..) = with_old_events().await;
    let sealer = Sealer::new(key(1));
    let mut tx = trail.begin().await;
    let tombstone = sealer.bury(&mut tx, Utc::now() - Duration::days(365)).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let life = Lifecycle::new(trail.db.control().clone());
    life.remove_events(trail.tenant.id(), tombstone.checkpoint().number(), &order()).await.unwrap();
    for place in [HomePlace::schema(), HomePlace::shared()] {
        let (control, tenant) = (trail.db.control(), trail.tenant.id());
        control.move_tenant(tenant, &place, |_| ()).await.unwrap();
        control.finish_move(tenant, std::time::Duration::ZERO).await.unwrap();
        // Not the one that remembers, for a second, where the tenant was.
        let fresh = trail.db.connect(formwork_tenancy::Tenants::builder()).await;
        let tenant = fresh.by_id(tenant).await.unwrap().unwrap();
        let session = trail.db.session(&tenant, Actor::system("test"));
        let mut tx = fresh.begin(&session).await.unwrap();
        Audit::new().record(&mut tx, Event::new("project.moved")).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = fresh.begin(&session).await.unwrap();
        sealer.seal(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = fresh.begin_read(&session).await.unwrap();
        let verifier = formwork_audit::seal::Verifier::new([key(1).public()]);
        let found = verifier.verify(&mut tx).await.unwrap();
        assert!(found.is_intact() && found.buried()[0].gone() == 3, "{found:?}");
        let page = Audit::new().list(&mut tx, &Filter::default(), None, 100).await.unwrap();
        assert!(page.events.len() >= 6);
    }
}
