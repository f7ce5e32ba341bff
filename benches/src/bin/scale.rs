//! What followers and memory cost as tenants, relationships and nodes grow: a simulation from measured figures.
//!
//! ```sh
//! cargo run --release -p formwork-benches --bin scale
//! SCALE_TENANTS=10000 SCALE_TUPLES=1000000000 SCALE_CHANGES=1000 SCALE_MEMORY_GB=16 ... --bin scale
//! ```
//!
//! Every node follows the whole log and keeps the graphs of the tenants that it is asked about, the least recently asked
//! dropped first. Tenants are of unequal size, and asked about and changed in proportion to it. Numbers are drawn from a
//! fixed seed: every run says the same. Costs are those of the bench `store`; give others as `SCALE_LOOK_US` and so on.
#![expect(clippy::print_stdout, reason = "a program that tells what it has found")]

use std::collections::{BTreeMap, HashMap};

/// Simulated seconds, behind as many in which memory fills.
const SECONDS: usize = 30;
/// Nodes that are simulated, evenly among all; the others are like them.
const SAMPLED: usize = 20;

/// What there is, and what it costs.
struct Given {
    tenants: usize,
    tuples: f64,
    /// A second, of all tenants.
    changes: f64,
    /// Questions a second and node that may meet a tenant that is not in memory.
    questions: usize,
    /// For graphs, a node.
    memory: f64,
    /// Between two looks, in seconds.
    pause: f64,
    /// Larger tenants are answered through SQL.
    budget: f64,
    /// A look that finds nothing, in seconds; nearly all of it is Postgres'.
    look: f64,
    /// A change, of Postgres and the node together.
    change: f64,
    /// The part of it that is Postgres'.
    share: f64,
    /// A relationship that is loaded.
    load: f64,
    /// A relationship in memory, and in Postgres with its indexes.
    bytes: f64,
    stored: f64,
}

fn number(name: &str, otherwise: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

impl Given {
    fn read() -> Self {
        Self {
            tenants: number("SCALE_TENANTS", 10_000.0) as usize,
            tuples: number("SCALE_TUPLES", 1e9),
            changes: number("SCALE_CHANGES", 1_000.0),
            questions: number("SCALE_QUESTIONS", 500.0) as usize,
            memory: number("SCALE_MEMORY_GB", 8.0) * 1e9,
            pause: number("SCALE_PAUSE_MS", 1_000.0) / 1e3,
            budget: number("SCALE_BUDGET", 5e6),
            look: number("SCALE_LOOK_US", 166.0) / 1e6,
            change: number("SCALE_CHANGE_US", 11.1) / 1e6,
            share: number("SCALE_SHARE", 0.5),
            load: number("SCALE_LOAD_US", 3.0) / 1e6,
            bytes: number("SCALE_BYTES", 22.2),
            stored: number("SCALE_STORED_BYTES", 433.0),
        }
    }
}

/// Numbers without a pattern, the same in every run.
struct Dice(u64);

impl Dice {
    /// In 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The same place for the same tenant, without a pattern.
fn spread(n: u64) -> usize {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize
}

/// Tenants by their weight: the n-th has 1 / n^0.9 of the first.
struct Tenants {
    sizes: Vec<f64>,
    summed: Vec<f64>,
}

impl Tenants {
    fn new(given: &Given) -> Self {
        let weights: Vec<f64> = (1..=given.tenants).map(|n| (n as f64).powf(-0.9)).collect();
        let all: f64 = weights.iter().sum();
        let sizes = weights.iter().map(|weight| weight / all * given.tuples).collect();
        let summed = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        Self { summed: summed.collect(), sizes }
    }

    fn any(&self, dice: &mut Dice) -> usize {
        let at = dice.next();
        self.summed.partition_point(|&sum| sum < at).min(self.sizes.len() - 1)
    }

    fn size(&self, tenant: usize) -> f64 {
        self.sizes.get(tenant).copied().unwrap_or_default()
    }
}

/// The graphs of one node.
#[derive(Default)]
struct Node {
    asked: HashMap<usize, u64>,
    oldest: BTreeMap<u64, usize>,
    relationships: f64,
    clock: u64,
    loaded: f64,
    loads: usize,
    through_sql: usize,
    questions: usize,
}

impl Node {
    fn ask(&mut self, tenant: usize, tenants: &Tenants, given: &Given) {
        self.clock += 1;
        self.questions += 1;
        let size = tenants.size(tenant);
        if size > given.budget {
            self.through_sql += 1;
            return;
        }
        match self.asked.insert(tenant, self.clock) {
            Some(before) => {
                self.oldest.remove(&before);
            }
            None => {
                self.loads += 1;
                self.loaded += size;
                self.relationships += size;
            }
        }
        self.oldest.insert(self.clock, tenant);
        while self.relationships * given.bytes > given.memory
            && let Some((_, dropped)) = self.oldest.pop_first()
        {
            self.asked.remove(&dropped);
            self.relationships -= tenants.size(dropped);
        }
    }

    fn begin_to_count(&mut self) {
        (self.loaded, self.loads, self.through_sql, self.questions) = (0.0, 0, 0, 0);
    }
}

/// A node is asked about every tenant, or about those that are routed to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Routing {
    Anywhere,
    /// Each tenant on two nodes.
    ByTenant,
}

fn simulate(given: &Given, tenants: &Tenants, nodes: usize, routing: Routing) {
    let mut dice = Dice(1);
    let sampled = nodes.min(SAMPLED);
    let mut simulated: Vec<Node> = (0..sampled).map(|_| Node::default()).collect();
    for round in 0..2 {
        simulated.iter_mut().for_each(Node::begin_to_count);
        for (index, node) in simulated.iter_mut().enumerate() {
            let number = index * nodes / sampled;
            let mut left = SECONDS * given.questions * if round == 0 { 4 } else { 1 };
            while left > 0 {
                let tenant = tenants.any(&mut dice);
                let is_here = |replica: u64| spread(tenant as u64 * 2 + replica) % nodes == number;
                if routing == Routing::Anywhere || is_here(0) || is_here(1) {
                    node.ask(tenant, tenants, given);
                    left -= 1;
                }
            }
        }
    }
    let (count, seconds) = (sampled as f64, SECONDS as f64);
    let of = |what: fn(&Node) -> f64| simulated.iter().map(what).sum::<f64>() / count;
    // A look for each pause, whatever it finds.
    let looks = 1.0 / (given.pause + given.look);
    let following = looks * given.look + given.changes * given.change;
    let postgres = nodes as f64 * (looks * given.look + given.changes * given.change * given.share);
    let loading = of(|node| node.loaded) / seconds * given.load;
    println!(
        "| {nodes} | {} | {:.2} | {:.1} % | {:.1} GB | {:.2} | {:.2} | {:.1} % |",
        if routing == Routing::Anywhere { "anywhere" } else { "by tenant" },
        postgres,
        (following - looks * given.look - given.changes * given.change * given.share) * 100.0,
        of(|node| node.relationships) * given.bytes / 1e9,
        of(|node| node.loads as f64) / seconds,
        loading * nodes as f64,
        of(|node| node.through_sql as f64) / of(|node| node.questions as f64) * 100.0,
    );
}

fn main() {
    let given = Given::read();
    let tenants = Tenants::new(&given);
    println!(
        "{} tenants, {:.0} relationships ({:.0} GB in Postgres), {:.0} changes a second, a look every {:.0} ms, {:.0} GB of graphs a node.\n",
        given.tenants,
        given.tuples,
        given.tuples * given.stored / 1e9,
        given.changes,
        given.pause * 1e3,
        given.memory / 1e9
    );
    println!(
        "| nodes | questions go | cores of Postgres that follow | of a core of a node that follows | graphs of a node | loads a second and node | cores that load, all nodes | questions through SQL |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for nodes in [1, 10, 30, 100] {
        simulate(&given, &tenants, nodes, Routing::Anywhere);
        if nodes > 1 {
            simulate(&given, &tenants, nodes, Routing::ByTenant);
        }
    }
}
