//! Hooks refuse what comes, and are called until they have succeeded for what has come.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use formwork_tenancy::{
    HomePlace, Status,
    lifecycle::{Change, HookError, LifecycleHook, LifecycleRefusal, Transition, TransitionStep},
};

use super::{change, lifecycle, order, refusal, status};
use crate::move_tenant::database;

/// Keeps what it was called for.
#[derive(Debug, Clone, Default)]
struct Diary {
    lines: Arc<Mutex<Vec<String>>>,
    against: Arc<AtomicBool>,
    failing: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
}

impl Diary {
    fn write(&self, when: &str, change: &Change) {
        let line = format!("{when} {} {} -> {}", change.transition(), change.from(), change.to());
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

#[async_trait]
impl LifecycleHook for Diary {
    fn name(&self) -> &'static str {
        "diary"
    }

    async fn before(&self, change: &Change) -> Result<(), HookError> {
        assert_eq!(
            (change.slug(), change.actor(), change.reason()),
            ("acme", "system:on-call", "ticket 4711")
        );
        self.write("before", change);
        if self.hanging.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.against.load(Ordering::SeqCst) { Err("not on a Friday".into()) } else { Ok(()) }
    }

    async fn after(&self, change: &Change) -> Result<(), HookError> {
        self.write("after", change);
        if self.failing.load(Ordering::SeqCst) { Err("no answer from the DNS".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_hook_refuses_what_comes_by_an_error_or_by_silence() {
    let db = database().await;
    let diary = Diary::default();
    let life = lifecycle(&db).hook(diary.clone()).hook_limit(Duration::from_millis(50));
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    for (flag, says) in [(&diary.against, "not on a Friday"), (&diary.hanging, "no answer within 50 ms")] {
        flag.store(true, Ordering::SeqCst);
        let refused = refusal(life.suspend(tenant, &order()).await);
        assert!(matches!(&refused, LifecycleRefusal::Hook(failure) if failure.hook() == "diary"));
        assert!(refused.to_string().contains(says), "{refused}");
        assert_eq!(status(&db, tenant).await, Status::Active);
        flag.store(false, Ordering::SeqCst);
    }
    let history = life.history(tenant).await.unwrap();
    assert!(history.iter().all(|past| past.step() == TransitionStep::Refused && past.problem().is_some()));
    assert_eq!(diary.take(), ["before suspend active -> suspended"; 2]);
    life.suspend(tenant, &order()).await.unwrap();
    assert_eq!(diary.take(), ["before suspend active -> suspended", "after suspend active -> suspended"]);
}

#[tokio::test]
async fn a_hook_that_fails_afterwards_undoes_nothing_and_is_called_again_in_order() {
    let db = database().await;
    let diary = Diary::default();
    let other = Named("second", diary.lines.clone());
    let life = lifecycle(&db).hook(diary.clone()).hook(other);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    diary.failing.store(true, Ordering::SeqCst);
    let report = life.suspend(tenant, &order()).await.unwrap();
    assert!(report.changed());
    assert_eq!(report.waiting()[0].why(), "no answer from the DNS");
    assert_eq!(status(&db, tenant).await, Status::Suspended);
    assert_eq!(life.unfinished().await.unwrap(), [tenant]);
    let after = "after suspend active -> suspended";
    assert_eq!(diary.take(), ["before suspend active -> suspended", after, "second"]);

    // What is in force does not keep the next change from being made; its hooks wait for those before them.
    let report = change(&life, tenant, Transition::Activate).await.unwrap();
    assert_eq!((report.status(), report.waiting().len()), (Status::Active, 1));
    assert_eq!(diary.take(), ["before activate suspended -> active", after]);

    diary.failing.store(false, Ordering::SeqCst);
    assert!(life.resume(tenant, |_| ()).await.unwrap().waiting().is_empty());
    assert_eq!(diary.take(), [after, "after activate suspended -> active", "second"]);
    assert!(life.unfinished().await.unwrap().is_empty());
    assert!(matches!(refusal(life.resume(tenant, |_| ()).await), LifecycleRefusal::NotOpen));
}

/// Says that it was called, afterwards.
#[derive(Debug)]
struct Named(&'static str, Arc<Mutex<Vec<String>>>);

#[async_trait]
impl LifecycleHook for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    async fn after(&self, _: &Change) -> Result<(), HookError> {
        self.1.lock().unwrap().push(self.0.to_owned());
        Ok(())
    }
}
