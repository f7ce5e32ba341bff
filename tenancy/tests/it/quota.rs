//! Quotas in the tenant's own transaction, in both homes that there are.

use std::time::Duration;

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, Session, Tenant, TenantTx, Tenants, TxOptions,
    local_postgres::LocalRole,
    quota::{Period, Quota, QuotaError, QuotaExceeded, Quotas, Reservation, Usage},
    testing::TestDatabase,
};
use sqlx::Connection;

const MODES: [Isolation; 2] = [Isolation::Shared, Isolation::Schema];

struct Home {
    db: TestDatabase,
    tenant: Tenant,
    session: Session,
    quotas: Quotas,
}

impl Home {
    async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[TENANCY]).await;
        let tenant = db.tenant("a", isolation).await;
        let session = db.session(&tenant, Actor::system("test"));
        let quotas = Quotas::new()
            .plan("standard", "projects", Quota::up_to(10))
            .plan("enterprise", "projects", Quota::unlimited())
            .any_plan("bytes", Quota::unlimited())
            .any_plan("exports", Quota::up_to(2).every(Period::Day));
        Self { db, tenant, session, quotas }
    }

    async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.session).await.unwrap()
    }

    async fn reserve(&self, units: u64) -> Result<Reservation, QuotaError> {
        let mut tx = self.begin().await;
        let reserved = self.quotas.reserve(&mut tx, "projects", units).await;
        tx.commit().await.unwrap();
        reserved
    }

    async fn consume(&self, resource: &str, units: u64) -> Result<(), QuotaError> {
        let mut tx = self.begin().await;
        let done = self.quotas.consume(&mut tx, resource, units).await;
        tx.commit().await.unwrap();
        done
    }

    async fn settle(&self, reservation: &Reservation, actual: u64) -> Result<(), QuotaError> {
        let mut tx = self.begin().await;
        let done = self.quotas.settle(&mut tx, reservation, actual).await;
        tx.commit().await.unwrap();
        done
    }

    async fn usage(&self, resource: &str) -> Usage {
        let mut tx = self.db.tenants().begin_read(&self.session).await.unwrap();
        self.quotas.usage(&mut tx, resource).await.unwrap()
    }

    /// Used and set aside.
    async fn stand(&self) -> (u64, u64) {
        let usage = self.usage("projects").await;
        (usage.used(), usage.reserved())
    }

    /// What the tables say: `reserved` and the sum of the reservations, of all periods.
    async fn sums(&self) -> (i64, i64) {
        let mut tx = self.begin().await;
        sqlx::query_as(
            "select (select coalesce(sum(reserved), 0)::bigint from quota_usage),
                    (select coalesce(sum(units), 0)::bigint from quota_reservations)",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap()
    }

    async fn expire_all(&self) {
        let mut tx = self.begin().await;
        sqlx::query("update quota_reservations set expires_at = now()").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn exceeded<T: std::fmt::Debug>(result: Result<T, QuotaError>) -> QuotaExceeded {
    match result {
        Err(QuotaError::Exceeded(exceeded)) => exceeded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reserve_settle_and_release_keep_the_books() {
    for isolation in MODES {
        let home = Home::new(isolation).await;
        let (first, second) = (home.reserve(4).await.unwrap(), home.reserve(5).await.unwrap());
        assert_eq!(home.stand().await, (0, 9));
        let refused = exceeded(home.reserve(2).await);
        let figures =
            (refused.resource(), refused.asked(), refused.limit(), refused.used(), refused.reserved());
        assert_eq!(figures, ("projects", 2, 10, 0, 9));
        home.settle(&first, 3).await.unwrap();
        assert_eq!(home.stand().await, (3, 5));
        assert!(matches!(home.settle(&first, 3).await, Err(QuotaError::Gone)), "settled once only");
        // More than was set aside, while there is room; then the reservation stays.
        let refused = exceeded(home.settle(&second, 8).await);
        assert_eq!((refused.asked(), refused.used(), refused.reserved()), (3, 3, 5));
        assert_eq!(home.stand().await, (3, 5));
        home.settle(&second, 7).await.unwrap();
        assert_eq!(home.stand().await, (10, 0));
        exceeded(home.consume("projects", 1).await);
        let mut tx = home.begin().await;
        home.quotas.give_back(&mut tx, "projects", 4).await.unwrap();
        let third = home.quotas.reserve(&mut tx, "projects", 4).await.unwrap();
        assert!(home.quotas.release(&mut tx, &third).await.unwrap());
        assert!(!home.quotas.release(&mut tx, &third).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!((home.stand().await, home.sums().await), ((6, 0), (0, 0)));
    }
}

#[tokio::test]
async fn what_a_transaction_took_goes_back_when_it_does() {
    let home = Home::new(Isolation::Shared).await;
    let kept = home.reserve(3).await.unwrap();
    let mut tx = home.begin().await;
    home.quotas.consume(&mut tx, "projects", 2).await.unwrap();
    let lost = home.quotas.reserve(&mut tx, "projects", 2).await.unwrap();
    home.quotas.settle(&mut tx, &kept, 3).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(home.stand().await, (0, 3));
    assert!(matches!(home.settle(&lost, 2).await, Err(QuotaError::Gone)));
    home.settle(&kept, 3).await.unwrap();
    assert_eq!(home.stand().await, (3, 0));
}

/// Fifty tasks, half of what they ask for is there; some set aside first, some give back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_transactions_exceeds_the_limit() {
    for isolation in MODES {
        let home = Home::new(isolation).await;
        let mut tasks = Vec::new();
        for task in 0..50 {
            let (tenants, session) = (home.db.tenants().clone(), home.session.clone());
            let quotas = Quotas::new().any_plan("projects", Quota::up_to(25));
            tasks.push(tokio::spawn(async move {
                let mut tx = tenants.begin(&session).await.unwrap();
                let reserved = quotas.reserve(&mut tx, "projects", 1).await;
                tx.commit().await.unwrap();
                let reservation = match reserved {
                    Ok(reservation) => reservation,
                    error => {
                        let refused = exceeded(error);
                        assert_eq!(refused.limit(), 25);
                        assert!(
                            refused.used() + refused.reserved() == 25,
                            "refused only when full: {refused}"
                        );
                        return (0, 1);
                    }
                };
                let mut tx = tenants.begin(&session).await.unwrap();
                quotas.settle(&mut tx, &reservation, 1).await.unwrap();
                match task % 5 {
                    // Given up at the last moment: it stays set aside.
                    0 => tx.rollback().await.unwrap(),
                    _ => drop(tx.commit().await.unwrap()),
                }
                (1, 0)
            }));
        }
        let (mut granted, mut refused) = (0, 0);
        for task in tasks {
            let (one, other) = task.await.unwrap();
            granted += one;
            refused += other;
        }
        assert_eq!((granted, refused), (25, 25));
        let (used, reserved) = home.stand().await;
        assert_eq!(used + reserved, 25);
        assert_eq!(home.sums().await, (reserved as i64, reserved as i64));
    }
}

/// All find the limit full of orphans at once: their room is given out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_reservations_make_room_once_for_many_at_once() {
    let home = Home::new(Isolation::Shared).await;
    let orphans = [home.reserve(4).await.unwrap(), home.reserve(6).await.unwrap()];
    exceeded(home.reserve(1).await);
    home.expire_all().await;
    assert_eq!(home.stand().await, (0, 0), "what has expired is not shown");
    let mut tasks = Vec::new();
    for _ in 0..30 {
        let (tenants, session, quotas) =
            (home.db.tenants().clone(), home.session.clone(), home.quotas.clone());
        tasks.push(tokio::spawn(async move {
            let mut tx = tenants.begin(&session).await.unwrap();
            let done = quotas.consume(&mut tx, "projects", 1).await;
            tx.commit().await.unwrap();
            usize::from(done.is_ok())
        }));
    }
    let mut granted = 0;
    for task in tasks {
        granted += task.await.unwrap();
    }
    assert_eq!((granted, home.stand().await, home.sums().await), (10, (10, 0), (0, 0)));
    for orphan in &orphans {
        assert!(matches!(home.settle(orphan, 1).await, Err(QuotaError::Gone)));
    }
}

#[tokio::test]
async fn an_expired_reservation_can_be_settled_until_its_room_is_needed() {
    let home = Home::new(Isolation::Shared).await;
    let late = home.reserve(6).await.unwrap();
    home.expire_all().await;
    // More than it holds, so that expired ones are looked through: it is not counted out under its own settling.
    exceeded(home.settle(&late, 11).await);
    assert_eq!(home.sums().await, (6, 6));
    home.settle(&late, 8).await.unwrap();
    assert_eq!((home.stand().await, home.sums().await), ((8, 0), (0, 0)));
    let orphan = home.reserve(2).await.unwrap();
    home.expire_all().await;
    let _kept = home.reserve(2).await.unwrap();
    assert!(matches!(home.settle(&orphan, 2).await, Err(QuotaError::Gone)));
    assert_eq!(home.sums().await, (2, 2));
}

#[tokio::test]
async fn purge_removes_what_has_expired_and_nothing_else() {
    let home = Home::new(Isolation::Schema).await;
    let short = home.quotas.clone().hold_for(Duration::ZERO);
    let mut tx = home.begin().await;
    for _ in 0..3 {
        let _orphan = short.reserve(&mut tx, "projects", 2).await.unwrap();
    }
    let _orphan = short.reserve(&mut tx, "bytes", 1 << 40).await.unwrap();
    let kept = home.quotas.reserve(&mut tx, "projects", 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(home.sums().await, (7 + (1 << 40), 7 + (1 << 40)));
    let mut tx = home.begin().await;
    assert_eq!(home.quotas.purge(&mut tx).await.unwrap(), 4);
    assert_eq!(home.quotas.purge(&mut tx).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!(home.sums().await, (1, 1));
    home.settle(&kept, 1).await.unwrap();
}

#[tokio::test]
async fn a_tenant_can_have_another_limit_than_its_plan() {
    let home = Home::new(Isolation::Shared).await;
    home.consume("projects", 8).await.unwrap();
    let set = async |limit| {
        let mut tx = home.begin().await;
        home.quotas.set_limit(&mut tx, "projects", limit).await.unwrap();
        tx.commit().await.unwrap();
    };
    set(Some(5)).await;
    let refused = exceeded(home.consume("projects", 1).await);
    assert_eq!((refused.limit(), refused.used()), (5, 8));
    set(Some(12)).await;
    home.consume("projects", 4).await.unwrap();
    exceeded(home.consume("projects", 1).await);
    set(None).await;
    home.consume("projects", 1_000).await.unwrap();
    assert_eq!(home.usage("projects").await.limit(), None);
    let mut tx = home.begin().await;
    home.quotas.clear_limit(&mut tx, "projects").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(exceeded(home.consume("projects", 1).await).limit(), 10);
}

#[tokio::test]
async fn the_plan_decides_and_what_no_plan_names_is_refused() {
    let home = Home::new(Isolation::Shared).await;
    exceeded(home.consume("projects", 11).await);
    let unknown = home.consume("rockets", 1).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "plan `standard` has no quota of `rockets`: name one, if only `Quota::unlimited()`"
    );
    let changed = as_owner(&home, "update platform.tenants set plan = 'enterprise'").await;
    let mut tx = changed.begin(&again(&home, &changed).await).await.unwrap();
    home.quotas.consume(&mut tx, "projects", 11).await.unwrap();
    for units in [0, (1 << 53) + 1, u64::MAX] {
        let refused = home.quotas.reserve(&mut tx, "bytes", units).await;
        assert!(matches!(refused, Err(QuotaError::OutOfRange { .. })), "{refused:?}");
    }
}

/// The registry asked anew, after the owner's change to the tenant.
async fn as_owner(home: &Home, sql: &'static str) -> Tenants {
    let options = home.db.options(LocalRole::Owner).await;
    let mut owner = sqlx::PgConnection::connect_with(&options).await.unwrap();
    sqlx::query(sql).execute(&mut owner).await.unwrap();
    home.db.connect(Tenants::builder()).await
}

async fn again(home: &Home, tenants: &Tenants) -> Session {
    let tenant = tenants.by_id(home.tenant.id()).await.unwrap().unwrap();
    Session::new(&tenant, Actor::system("test"))
}

/// Two ends of the world are never at the same date.
#[tokio::test]
async fn a_periodic_quota_begins_anew_and_is_settled_where_it_was_reserved() {
    let home = Home::new(Isolation::Schema).await;
    let east = as_owner(&home, "update platform.tenants set time_zone = 'Etc/GMT-14'").await;
    let of_east = again(&home, &east).await;
    let mut tx = east.begin(&of_east).await.unwrap();
    let reservation = home.quotas.reserve(&mut tx, "exports", 2).await.unwrap();
    let refused = exceeded(home.quotas.consume(&mut tx, "exports", 1).await);
    assert_eq!((refused.limit(), refused.reserved()), (2, 2));
    tx.commit().await.unwrap();

    let west = as_owner(&home, "update platform.tenants set time_zone = 'Etc/GMT+12'").await;
    let mut tx = west.begin(&again(&home, &west).await).await.unwrap();
    let before = home.quotas.usage(&mut tx, "exports").await.unwrap();
    assert_eq!((before.used(), before.reserved()), (0, 0));
    assert_ne!(before.period(), reservation.period());
    home.quotas.consume(&mut tx, "exports", 2).await.unwrap();
    home.quotas.settle(&mut tx, &reservation, 1).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = east.begin(&of_east).await.unwrap();
    let there = home.quotas.usage(&mut tx, "exports").await.unwrap();
    assert_eq!((there.used(), there.reserved(), there.period()), (1, 0, reservation.period()));
}

#[tokio::test]
async fn one_tenant_neither_uses_nor_settles_anothers() {
    let home = Home::new(Isolation::Shared).await;
    let other = home.db.tenant("b", Isolation::Shared).await;
    let of_other = home.db.session(&other, Actor::system("test"));
    let reservation = home.reserve(10).await.unwrap();
    let mut tx = home.db.tenants().begin(&of_other).await.unwrap();
    let stolen = home.quotas.settle(&mut tx, &reservation, 10).await;
    assert!(matches!(stolen, Err(QuotaError::Gone)));
    home.quotas.set_limit(&mut tx, "projects", Some(1)).await.unwrap();
    home.quotas.consume(&mut tx, "projects", 1).await.unwrap();
    let refused = exceeded(home.quotas.consume(&mut tx, "projects", 1).await);
    assert_eq!((refused.limit(), refused.used(), refused.reserved()), (1, 1, 0));
    assert_eq!(home.quotas.purge(&mut tx).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!((home.stand().await, home.usage("projects").await.limit()), ((0, 10), Some(10)));
}

/// Takings of other resources and other tenants do not wait for an open transaction; those of the same do.
#[tokio::test]
async fn only_takings_of_one_tenants_resource_wait_for_each_other() {
    let home = Home::new(Isolation::Shared).await;
    let other = home.db.tenant("b", Isolation::Shared).await;
    home.consume("projects", 1).await.unwrap();
    let mut open = home.begin().await;
    home.quotas.consume(&mut open, "projects", 1).await.unwrap();
    let impatient = TxOptions::new().lock_timeout(Duration::from_millis(20));
    for (session, resource, waits) in [
        (home.db.session(&other, Actor::system("test")), "projects", false),
        (home.session.clone(), "bytes", false),
        (home.session.clone(), "projects", true),
    ] {
        let mut tx = home.db.tenants().begin_with(&session, impatient).await.unwrap();
        let done = home.quotas.consume(&mut tx, resource, 1).await;
        assert_eq!(done.is_err(), waits, "{resource}: {done:?}");
    }
}

/// A reservation travels as JSON to whoever settles it.
#[tokio::test]
async fn a_reservation_can_be_kept_elsewhere() {
    let home = Home::new(Isolation::Schema).await;
    let kept = serde_json::to_string(&home.reserve(2).await.unwrap()).unwrap();
    let reservation: Reservation = serde_json::from_str(&kept).unwrap();
    assert_eq!((reservation.resource(), reservation.units(), reservation.period()), ("projects", 2, ""));
    home.settle(&reservation, 2).await.unwrap();
    assert_eq!(home.stand().await, (2, 0));
}
