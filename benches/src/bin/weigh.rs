//! What an engine keeps in memory: `weigh ENGINE TUPLES` loads it and prints the bytes that it has not given back.
//!
//! A program of its own, so that the counting of every allocation slows no measurement of the other.

use std::{alloc::System, hint::black_box};

use formwork_benches::peers::{Casbin, Cedar, World, Zanzibar, graph};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn kept<T>(world: &World, load: impl Fn(&World) -> T) -> usize {
    let region = Region::new(MEMORY);
    let engine = black_box(load(world));
    let change = region.change();
    drop(engine);
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(engine), Some(tuples)) = (arguments.next(), arguments.next()) else {
        return Err("weigh: say which engine and how many tuples".to_owned());
    };
    let world = World::of(tuples.parse().map_err(|error| format!("weigh: `{tuples}`: {error}"))?);
    let kept = match engine.as_str() {
        "formwork" => kept(&world, graph),
        "cedar-policy" => kept(&world, Cedar::load),
        "simple-zanzibar" => kept(&world, Zanzibar::load),
        "casbin" => kept(&world, Casbin::load),
        _ => return Err(format!("weigh: no engine `{engine}`")),
    };
    println!("{kept}");
    Ok(())
}
