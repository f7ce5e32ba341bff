//! A whole trail in a file, verified by the program that shares no code with the library.

use chrono::{Duration, Utc};
use formwork_audit::seal::{OfflineTrail, Sealer};
use formwork_tenancy::lifecycle::{Lifecycle, Order};
use uuid::Uuid;

use super::{
    trail::{Trail, key},
    whole::check_trail,
};

async fn file_of(trail: &Trail) -> String {
    let mut tx = trail.begin().await;
    let (mut file, mut offline) = (String::new(), OfflineTrail::new());
    while let Some(piece) = offline.next(&mut tx).await.unwrap() {
        file.push_str(&piece);
    }
    file
}

#[tokio::test]
async fn a_whole_trail_is_verified_from_a_file_with_its_rotations_and_its_removed_events() {
    let trail = Trail::new().await;
    trail.insert_old(&[Uuid::from_u128(7 << 80), Uuid::from_u128(8 << 80)]).await;
    trail.record(4).await;
    trail.seal(&Sealer::new(key(1))).await.unwrap();
    trail.record(3).await;
    let second = Sealer::new(key(2)).retiring(key(1));
    trail.seal(&second).await.unwrap();
    let mut tx = trail.begin().await;
    let tombstone = second.bury(&mut tx, Utc::now() - Duration::days(1)).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let life = Lifecycle::new(trail.db.control().clone());
    let order = Order::new(&formwork_tenancy::Actor::system("test"), "old");
    life.remove_events(trail.tenant.id(), tombstone.checkpoint().number(), &order).await.unwrap();
    trail.record(1).await;
    trail.seal(&second).await.unwrap();
    // What came after the last checkpoint is in no file.
    trail.record(1).await;

    let file = file_of(&trail).await;
    let trusted = [key(1).public().to_string()];
    let check = |file: &str| check_trail(file.as_bytes(), &trusted);
    let tenant = trail.tenant.id();
    assert_eq!(
        check(&file).unwrap(),
        format!("10 events under 4 checkpoints of tenant {tenant}, 2 of them removed")
    );
    assert!(
        check_trail(file.as_bytes(), &[key(2).public().to_string()]).unwrap_err().contains("not trusted")
    );

    let lines: Vec<&str> = file.lines().collect();
    let without = |nr: usize| {
        let mut left = lines.clone();
        left.remove(nr);
        left.join("\n")
    };
    let swapped = |a: usize, b: usize| {
        let mut other = lines.clone();
        other.swap(a, b);
        other.join("\n")
    };
    // A line of names, four checkpoints, ten leaves.
    assert_eq!(lines.len(), 15);
    for nr in 0..lines.len() {
        assert!(check(&without(nr)).is_err(), "without line {nr}");
    }
    for (a, b) in [(1, 2), (3, 4), (5, 6), (9, 10), (13, 14)] {
        assert!(check(&swapped(a, b)).is_err(), "{a} and {b} swapped");
    }
    for (from, to) in [
        ("Brücke", "Brucke"),
        ("project.renamed", "project.removed"),
        ("removed-events 2", "removed-events 9"),
        (&*tenant.to_string(), &*Uuid::nil().to_string()),
    ] {
        assert!(check(&file.replacen(from, to, 1)).is_err(), "{from} to {to}");
    }
    // An event of which only the hash is told, though no tombstone covers it.
    let last = lines.last().unwrap();
    let hidden = file.replace(last, &format!("{{\"hash\":\"{}\"}}", "0".repeat(64)));
    assert!(check(&hidden).unwrap_err().contains("without a tombstone"), "{:?}", check(&hidden));
}
