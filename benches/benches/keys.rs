//! What does sealing a field cost, beside the bare cipher on the same bytes?
//!
//! All rows take turns in one run, with a new random nonce for each value; the difference is the key's lookup, the place
//! that is bound in, and the framing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and tells its ratios"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use criterion::{Criterion, criterion_group, criterion_main};
use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, Session, TenantTx, Tenants,
    keys::{Field, IndexedColumn, Keys, LocalKeyFile, Sealed},
    testing::TestDatabase,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const TURN: u32 = 2_000;
const TURNS: usize = 200;
const SIZES: [usize; 2] = [64, 4096];
const EMAIL: IndexedColumn = IndexedColumn::new("people", "email");

struct Setting {
    tenants: Tenants,
    session: Session,
    keys: Keys,
    cipher: XChaCha20Poly1305,
    ring: LessSafeKey,
    /// The key file's, which is asked again once a minute.
    _folder: TempDir,
}

fn place(row: Uuid) -> Field<'static> {
    Field::new("people", "passport", row)
}

impl Setting {
    async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY]).await;
        let session = Session::new(&db.tenant("a", Isolation::Shared).await, Actor::system("bench"));
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(LocalKeyFile::open_or_create(folder.path().join("keys.json")).unwrap());
        let mut tx = db.tenants().begin(&session).await.unwrap();
        keys.seal(&mut tx, "first", place(Uuid::nil())).await.unwrap();
        keys.blind_index(&mut tx, &EMAIL, "first").await.unwrap();
        tx.commit().await.unwrap();
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        let cipher = XChaCha20Poly1305::new_from_slice(&key).unwrap();
        let ring = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
        Self { tenants: db.tenants().clone(), session, keys, cipher, ring, _folder: folder }
    }

    /// A transaction in which the keys are in memory. They are committed, and stay for a minute: longer than a turn. Then they are had anew.
    async fn begin(&self) -> TenantTx {
        let mut tx = self.tenants.begin(&self.session).await.unwrap();
        let sealed = self.keys.seal(&mut tx, "warm", place(Uuid::nil())).await.unwrap();
        assert_eq!(self.keys.open(&mut tx, &sealed, place(Uuid::nil())).await.unwrap(), "warm");
        assert!(self.keys.blind_index_to_find(&mut tx, &EMAIL, "x").await.unwrap().is_some());
        tx
    }

    fn seal_bare(&self, plain: &[u8]) -> (XNonce, Vec<u8>) {
        let mut nonce = XNonce::default();
        getrandom::fill(&mut nonce).unwrap();
        let mut buffer = Vec::with_capacity(plain.len() + 16);
        buffer.extend_from_slice(plain);
        self.cipher.encrypt_in_place(&nonce, b"", &mut buffer).unwrap();
        (nonce, buffer)
    }

    fn open_bare(&self, nonce: &XNonce, sealed: &[u8]) -> Vec<u8> {
        let mut buffer = sealed.to_vec();
        self.cipher.decrypt_in_place(nonce, b"", &mut buffer).unwrap();
        buffer
    }

    fn seal_ring(&self, plain: &[u8]) -> ([u8; 12], Vec<u8>) {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).unwrap();
        let mut buffer = Vec::with_capacity(plain.len() + 16);
        buffer.extend_from_slice(plain);
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        self.ring.seal_in_place_append_tag(nonce_of, Aad::empty(), &mut buffer).unwrap();
        (nonce, buffer)
    }

    fn open_ring(&self, nonce: [u8; 12], sealed: &[u8]) -> Vec<u8> {
        let mut buffer = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.ring.open_in_place(nonce, Aad::empty(), &mut buffer).unwrap().len();
        buffer.truncate(length);
        buffer
    }

    async fn turns(&self, size: usize) -> Vec<[Duration; 6]> {
        let (id, plain) = (Uuid::now_v7(), vec![7_u8; size]);
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let mut tx = self.begin().await;
            let sealed: Sealed<Vec<u8>> = self.keys.seal(&mut tx, plain.as_slice(), place(id)).await.unwrap();
            let (nonce, bare) = self.seal_bare(&plain);
            let (ring_nonce, ring) = self.seal_ring(&plain);
            assert_eq!(self.open_bare(&nonce, &bare), plain);
            assert_eq!(self.open_ring(ring_nonce, &ring), plain);
            assert_eq!(self.keys.open(&mut tx, &sealed, place(id)).await.unwrap(), plain);
            let begun = Instant::now();
            for _ in 0..TURN {
                black_box(self.keys.seal(&mut tx, plain.as_slice(), place(id)).await.unwrap());
            }
            let ours = begun.elapsed();
            let begun = Instant::now();
            for _ in 0..TURN {
                black_box(self.keys.open(&mut tx, &sealed, place(id)).await.unwrap());
            }
            let ours_open = begun.elapsed();
            turns.push([
                ours,
                turn(|| drop(black_box(self.seal_bare(&plain)))),
                turn(|| drop(black_box(self.seal_ring(&plain)))),
                ours_open,
                turn(|| drop(black_box(self.open_bare(&nonce, &bare)))),
                turn(|| drop(black_box(self.open_ring(ring_nonce, &ring)))),
            ]);
        }
        turns
    }
}

fn turn(work: impl Fn()) -> Duration {
    let begun = Instant::now();
    for _ in 0..TURN {
        work();
    }
    begun.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ratios(runtime: &Runtime, setting: &Setting) {
    for size in SIZES {
        let turns = runtime.block_on(setting.turns(size));
        let nanos = |row: usize| {
            median(turns.iter().map(|turn| turn[row].as_secs_f64() * 1e9 / f64::from(TURN)).collect())
        };
        let ratio = |row: usize, to: usize| {
            median(turns.iter().map(|turn| turn[row].div_duration_f64(turn[to])).collect())
        };
        for (what, row) in [("seal", 0), ("open", 3)] {
            println!(
                "{what} {size:4} B: ours {:7.0} ns, chacha20poly1305 {:7.0} ns ({:.2}), ring {:7.0} ns ({:.2})",
                nanos(row),
                nanos(row + 1),
                ratio(row, row + 1),
                nanos(row + 2),
                ratio(row, row + 2),
            );
        }
    }
}

fn keys(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let setting = runtime.block_on(Setting::new());
    ratios(&runtime, &setting);
    let mut group = criterion.benchmark_group("keys");
    let id = Uuid::now_v7();
    for size in SIZES {
        let plain = vec![7_u8; size];
        group.bench_function(format!("seal/{size}"), |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(async {
                    let mut tx = setting.begin().await;
                    let begun = Instant::now();
                    for _ in 0..rounds {
                        black_box(setting.keys.seal(&mut tx, plain.as_slice(), place(id)).await.unwrap());
                    }
                    begun.elapsed()
                })
            });
        });
        group.bench_function(format!("open/{size}"), |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(async {
                    let mut tx = setting.begin().await;
                    let sealed = setting.keys.seal(&mut tx, plain.as_slice(), place(id)).await.unwrap();
                    let begun = Instant::now();
                    for _ in 0..rounds {
                        black_box(setting.keys.open(&mut tx, &sealed, place(id)).await.unwrap());
                    }
                    begun.elapsed()
                })
            });
        });
    }
    group.bench_function("blind index", |bencher| {
        bencher.iter_custom(|rounds| {
            runtime.block_on(async {
                let mut tx = setting.begin().await;
                let begun = Instant::now();
                for _ in 0..rounds {
                    let index = setting.keys.blind_index(&mut tx, &EMAIL, "anna@example.com").await.unwrap();
                    black_box(index);
                }
                begun.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
