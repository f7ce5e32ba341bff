//! Whose turn it is, and that no permit is lost or made up, whoever goes away and when.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;

use super::{Admission, FairQueue, Fairness, Permit};
use crate::TenantId;

fn tenants<const N: usize>() -> [TenantId; N] {
    std::array::from_fn(|_| TenantId::generate())
}

/// A place in the queue, looked at without a runtime.
struct Place(std::pin::Pin<Box<dyn Future<Output = Result<Permit, super::Busy>>>>);

fn place(queue: &FairQueue, who: TenantId) -> Place {
    let queue = queue.clone();
    Place(Box::pin(async move { queue.enter(who).await }))
}

impl Place {
    fn look(&mut self) -> Option<Result<Permit, super::Busy>> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn permit(&mut self) -> Permit {
        self.look().expect("it was let in").unwrap()
    }
}

fn now(queue: &FairQueue, who: TenantId) -> Permit {
    place(queue, who).permit()
}

fn waiting(queue: &FairQueue, who: TenantId) -> Place {
    let mut place = place(queue, who);
    assert!(place.look().is_none(), "it waits");
    place
}

#[test]
fn a_tenant_alone_has_all_but_what_is_kept_for_the_next_one() {
    let queue = FairQueue::new(8, Fairness::new());
    let [noisy, quiet] = tenants();
    let held: Vec<_> = (0..6).map(|_| now(&queue, noisy)).collect();
    let mut next = waiting(&queue, noisy);
    let others = [now(&queue, quiet), now(&queue, quiet)];
    drop(others);
    assert!(next.look().is_none(), "it has what it may have");
    drop(held);
    let _ = next.permit();
}

#[test]
fn whoever_has_less_than_its_share_comes_first_and_equals_take_turns() {
    let queue = FairQueue::new(4, Fairness::new().at_most(4).share(1));
    let [noisy, b, c] = tenants();
    let mut held: Vec<_> = (0..4).map(|_| now(&queue, noisy)).collect();
    let mut more: Vec<_> = (0..4).map(|_| waiting(&queue, noisy)).collect();
    let (mut b1, mut b2, mut c1) = (waiting(&queue, b), waiting(&queue, b), waiting(&queue, c));
    held.pop();
    let b1 = b1.permit();
    assert!(b2.look().is_none() && c1.look().is_none(), "one was given back");
    held.pop();
    let c1 = c1.permit();
    // All have their share: the one that was served longest ago.
    held.pop();
    let first = more.first_mut().unwrap().permit();
    assert!(b2.look().is_none());
    held.pop();
    let b2 = b2.permit();
    drop((b1, c1, first, b2));
    assert!(more.iter_mut().skip(1).all(|place| place.look().is_some_and(|permit| permit.is_ok())));
    drop(more);
    assert!(queue.turns().is_idle());
}

#[test]
fn inside_a_tenant_it_is_first_come_first_served() {
    let queue = FairQueue::new(1, Fairness::new());
    let [a] = tenants();
    let held = now(&queue, a);
    let mut places: Vec<_> = (0..3).map(|_| waiting(&queue, a)).collect();
    places.remove(1);
    drop(held);
    let first = places[0].permit();
    assert!(places[1].look().is_none());
    drop(first);
    let _ = places[1].permit();
}

#[test]
fn a_queue_that_is_full_refuses_at_once_and_only_its_tenant() {
    let queue = FairQueue::new(1, Fairness::new().queue(2));
    let [a, b] = tenants();
    let held = now(&queue, a);
    let (mut first, second) = (waiting(&queue, a), waiting(&queue, a));
    let refused = place(&queue, a).look().unwrap().unwrap_err();
    assert!(refused.is_queue_full());
    assert_eq!(
        refused.to_string(),
        "2 transactions of the tenant wait for a connection already: try again shortly"
    );
    let mut other = waiting(&queue, b);
    drop(held);
    let first = first.permit();
    assert!(other.look().is_none());
    assert_eq!(queue.waiting(a), 1);
    drop(second);
    assert_eq!((queue.waiting(a), queue.held(a)), (0, 1), "who goes away makes room");
    drop(first);
    let _ = other.permit();
}

#[test]
fn a_permit_that_was_sent_to_somebody_who_went_away_goes_to_the_next_one() {
    let queue = FairQueue::new(1, Fairness::new());
    let [a, b] = tenants();
    let held = now(&queue, a);
    let (gone, mut next) = (waiting(&queue, a), waiting(&queue, b));
    drop(held);
    assert!(next.look().is_none(), "it was sent to the first");
    drop(gone);
    let _ = next.permit();
}

#[test]
fn first_come_first_served_makes_no_difference_between_tenants() {
    let queue = FairQueue::new(1, Fairness::first_come_first_served());
    let [noisy, quiet] = tenants();
    let mut held = Some(now(&queue, noisy));
    let mut crowd: Vec<_> = (0..300).map(|_| waiting(&queue, noisy)).collect();
    let mut last = waiting(&queue, quiet);
    for place in &mut crowd {
        assert!(last.look().is_none());
        held = None;
        held.replace(place.permit());
    }
    drop(held);
    let _ = last.permit();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_is_told_that_it_was_busy() {
    let admission = Admission::new(FairQueue::new(1, Fairness::new()), None, Duration::from_secs(3));
    let [a] = tenants();
    let held = admission.enter(a).await.unwrap();
    let error = admission.enter(a).await.unwrap_err();
    assert!(error.busy().is_some_and(|busy| !busy.is_queue_full()), "{error:?}");
    assert!(error.is_retryable() && error.is_unavailable());
    assert_eq!(admission.here.waiting(a), 0);
    drop(held);
    drop(admission.enter(a).await.unwrap());
}

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    Leave(usize),
    GiveBack(usize),
    Look(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5usize).prop_map(Step::Enter),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Leave(index.index(1 << 16))),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::GiveBack(index.index(1 << 16))),
        2 => any::<prop::sample::Index>().prop_map(|index| Step::Look(index.index(1 << 16))),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_no_permit_is_lost_or_made_up(
        steps in steps(), capacity in 1u32..6, at_most in 1u32..6, share in 1u32..6, length in 0usize..6,
    ) {
        let queue = FairQueue::new(capacity, Fairness::new().at_most(at_most).share(share).queue(length));
        let tenants: [TenantId; 5] = tenants();
        let (mut places, mut permits) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Enter(who) => {
                    let mut place = place(&queue, tenants[who]);
                    match place.look() {
                        Some(Ok(permit)) => permits.push(permit),
                        Some(Err(busy)) => prop_assert!(busy.is_queue_full()),
                        None => places.push(place),
                    }
                }
                Step::Leave(at) if !places.is_empty() => drop(places.swap_remove(at % places.len())),
                Step::GiveBack(at) if !permits.is_empty() => drop(permits.swap_remove(at % permits.len())),
                Step::Look(at) if !places.is_empty() => {
                    let at = at % places.len();
                    if let Some(answer) = places[at].look() {
                        permits.push(answer.unwrap());
                        drop(places.swap_remove(at));
                    }
                }
                _ => {}
            }
            queue.turns().examine();
        }
        drop((places, permits));
        prop_assert!(queue.turns().is_idle());
    }
}

/// Tasks on several threads, dropped after a random number of polls: at the end everything is there again, and at no
/// time were more in than may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_are_cancelled_at_random_leave_every_permit_behind() {
    const CAPACITY: u32 = 3;
    let queue = FairQueue::new(CAPACITY, Fairness::new().at_most(2).queue(1_000));
    let (inside, most, cancelled) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let counts = Arc::new((inside, most, cancelled));
    let tenants: [TenantId; 4] = tenants();
    let tasks = (0..64u64).map(|task| {
        let (queue, counts) = (queue.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let mut draw = 0x5eed ^ task;
            for round in 0..200 {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let who = tenants[(draw >> 60) as usize % 4];
                let polls = (draw >> 33) % 6;
                if !drop_after(polls, visit(&queue, who, &counts)).await {
                    counts.2.fetch_add(1, Ordering::Relaxed);
                }
                if round % 8 == 0 {
                    queue.turns().examine();
                }
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    queue.turns().examine();
    assert!(queue.turns().is_idle(), "{queue:?}");
    let (inside, most, cancelled) = &*counts;
    assert_eq!(inside.load(Ordering::Relaxed), 0);
    assert!(most.load(Ordering::Relaxed) <= CAPACITY, "{most:?} were in at once");
    assert!(cancelled.load(Ordering::Relaxed) > 1_000, "{cancelled:?} were cancelled");
}

async fn visit(queue: &FairQueue, who: TenantId, counts: &(AtomicU32, AtomicU32, AtomicU32)) {
    struct Inside<'a>(&'a AtomicU32);
    impl Drop for Inside<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let _permit = queue.enter(who).await.unwrap();
    let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
    let _inside = Inside(&counts.0);
    counts.1.fetch_max(now, Ordering::SeqCst);
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
}

/// Whether it finished within so many polls.
async fn drop_after(mut polls: u64, work: impl Future<Output = ()>) -> bool {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        work.as_mut().poll(context).map(|()| true)
    })
    .await
}
