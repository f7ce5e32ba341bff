//! How can a permission depend on an amount, an address, the hour?
//!
//! A condition is an expression over typed values. Some are stored with the relationship, as a limit is; some come with
//! the question, as an amount does. What nobody has given is never guessed: the answer says what is missing.
//!
//! Needs no database: `cargo run -p formwork-examples --bin attribute_conditions`.

use access::{Contract, User, rel};
use formwork_authz::{Context, Decision, Graph};
use serde_json::{Map, json};

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}

         caveat up_to(amount double, limit double, currency string, accepted list<string>) {
             amount <= limit && currency in accepted
         }

         caveat from_office(ip ipaddress, offices list<string>) {
             offices.exists(office, ip.in_cidr(office))
         }

         definition contract {
             relation approver: user with up_to
             relation auditor: user with from_office
             relation director: user
             permission approve = approver + director
             permission inspect = auditor + director
         }"
    );
}

fn main() -> Result<(), Failure> {
    // The limit is Bob's own, so it is stored with his relationship.
    let limit =
        Map::from_iter([("limit".to_owned(), json!(10_000)), ("accepted".to_owned(), json!(["EUR", "CHF"]))]);
    let offices = Map::from_iter([("offices".to_owned(), json!(["10.1.0.0/16", "2001:db8::/32"]))]);
    let graph = Graph::load(
        access::schema()?,
        [
            rel!("contract:7#approver@user:bob[up_to:{limit}]"),
            rel!("contract:7#auditor@user:eve[from_office:{offices}]"),
            rel!("contract:7#director@user:anna"),
        ],
    );
    let (contract, bob) = (Contract::new(7), graph.for_subject(&User::new("bob"))?);

    for (amount, currency) in [(9_999.5, "EUR"), (10_000.5, "EUR"), (50.0, "USD")] {
        let context = Context::new().with("amount", amount).with("currency", currency);
        let asked = bob.clone().with_context(context);
        println!("bob approves {amount} {currency}: {:?}", asked.check(Contract::CAN.approve, &contract)?);
    }

    // Nobody said how much: not allowed, and the screen can ask for it.
    match bob.check(Contract::CAN.approve, &contract)? {
        Decision::Conditional { missing } => println!("bob approves: tell me {}", missing.join(", ")),
        decided => println!("bob approves: {decided:?}"),
    }

    // What is stored wins over what a caller sends: Bob does not raise his limit by himself.
    let raised = Context::new().with("amount", 1_000_000).with("currency", "EUR").with("limit", 9_000_000);
    println!("bob raises his limit: {:?}", bob.with_context(raised).check(Contract::CAN.approve, &contract)?);

    for ip in ["10.1.2.3", "2001:db8::7", "192.168.0.1"] {
        let from = Context::new().with("ip", ip);
        let eve = graph.for_subject(&User::new("eve"))?.with_context(from);
        println!("eve inspects from {ip}: {:?}", eve.check(Contract::CAN.inspect, &contract)?);
    }

    // A value that is none is a failure to decide, which is neither answer.
    let nonsense = Context::new().with("ip", "the office");
    let eve = graph.for_subject(&User::new("eve"))?.with_context(nonsense);
    match eve.check(Contract::CAN.inspect, &contract) {
        Ok(decided) => println!("eve inspects from nowhere: {decided:?}"),
        Err(undecided) => println!("eve inspects from nowhere: {undecided}"),
    }

    // Without a condition nothing of this matters.
    let anna = graph.for_subject(&User::new("anna"))?;
    println!("anna approves: {:?}", anna.check(Contract::CAN.approve, &contract)?);
    Ok(())
}
