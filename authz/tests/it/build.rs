//! Schemas written in Rust: they say what their text says, and are refused as it would be.

use formwork_authz::{
    Allowed, Condition, Definition, Module, ParameterType, Rewrite, Schema, SchemaError, format_native,
};
use proptest::prelude::*;

use crate::round_trip::Choices;

fn user() -> Module {
    Module::new("people").definition(Definition::new("user"))
}

fn codes(result: Result<Schema, SchemaError>) -> Vec<String> {
    let told = match &result {
        Ok(schema) => schema.warnings(),
        Err(error) => error.diagnostics(),
    };
    told.iter().map(|fault| fault.code().to_owned()).collect()
}

#[test]
fn a_schema_built_in_rust_is_the_one_that_its_text_says() {
    let text = "
        use expiration
        use self
        use typechecking
        use deprecation
        /// By day.
        caveat daytime(hour int, days list<string>) { hour >= 8 && 'mon' in days }
        definition user {}
        /// A group
        /// of people.
        definition tenant/team {
            relation member: user | user:* | user with daytime
            @deprecated(warn, \"say member\")
            relation old: user
        }
        @deprecated(error, \"gone\")
        definition fax {}
        definition document {
            relation folder: document
            relation team: tenant/team
            relation viewer: user with daytime and expiration | @deprecated(warn, \"why\") document#viewer | user with expiration
            relation banned: user
            permission view: user | document = ((viewer + folder->view + self) - banned - nil) & (team.all(old) with daytime)
        }";
    let daytime = Condition::new("daytime", " hour >= 8 && 'mon' in days ")
        .parameter("hour", ParameterType::Int)
        .parameter("days", ParameterType::List(Box::new(ParameterType::String)))
        .documented("By day.");
    let team = Definition::new("tenant/team")
        .documented("A group\nof people.")
        .relation("member", [Allowed::from("user"), "user:*".into(), Allowed::object("user").when("daytime")])
        .relation("old", ["user"])
        .deprecated("say member");
    let view = Rewrite::from("viewer")
        .or(Rewrite::arrow("folder", "view"))
        .or(Rewrite::itself())
        .but_not("banned")
        .but_not(Rewrite::nil())
        .and(Rewrite::arrow_all("team", "old").when("daytime"));
    let document = Definition::new("document")
        .relation("folder", ["document"])
        .relation("team", ["tenant/team"])
        .relation(
            "viewer",
            [
                Allowed::object("user").when("daytime").expiring(),
                Allowed::userset("document", "viewer").deprecated("why"),
                Allowed::object("user").expiring(),
            ],
        )
        .relation("banned", ["user"])
        .permission("view", view)
        .announcing(["user", "document"]);
    let groups = Module::new("groups").condition(daytime).definition(team);
    let rest = Module::new("rest").definition(Definition::new("fax").refused("gone")).definition(document);
    let (built, parsed) = (Schema::build(&[user(), groups, rest]).unwrap(), Schema::parse(text).unwrap());
    assert!(built == parsed, "{}", built.to_native().unwrap());
    assert_eq!(built.to_native(), parsed.to_native());
    assert_eq!(built.doc("tenant/team", None), Some("A group\nof people."));
    assert_eq!(codes(Ok(built)), codes(Ok(parsed)));
}

#[test]
fn a_module_extends_the_type_of_another() {
    let core = Module::new("core")
        .definition(Definition::new("project").relation("member", ["user"]))
        .definition(Definition::new("letter").relation("project", ["project"]).permission("read", "project"));
    let links = Module::new("links").definition(Definition::extend("project").permission("link", "member"));
    let schema = Schema::build(&[links, user(), core]).unwrap();
    assert_eq!(schema.permissions("project").collect::<Vec<_>>(), ["link"]);
    // The text names what was added with the type.
    assert!(Schema::parse(&schema.to_native().unwrap()).unwrap() == schema);
}

/// What is wrong, in Rust and as text: the codes are the same, and the place has the names of module and item.
#[test]
fn faults_have_the_codes_of_the_text_and_the_place_of_the_item() {
    let doc = |definition: Definition| Module::new("docs").definition(definition);
    let cases: [(&str, Module, &str); 18] = [
        ("relation viewer: usr", doc(Definition::new("doc").relation("viewer", ["usr"])), "doc#viewer"),
        ("relation viewer: user#x", doc(Definition::new("doc").relation("viewer", ["user#x"])), "doc#viewer"),
        (
            "relation viewer: user with by_day",
            doc(Definition::new("doc").relation("viewer", [Allowed::object("user").when("by_day")])),
            "doc#viewer",
        ),
        ("permission view = viwer", doc(Definition::new("doc").permission("view", "viwer")), "doc#view"),
        (
            "relation r: user relation r: user",
            doc(Definition::new("doc").relation("r", ["user"]).relation("r", ["user"])),
            "doc#r",
        ),
        ("relation r: user | user", doc(Definition::new("doc").relation("r", ["user", "user"])), "doc#r"),
        ("relation Big: user", doc(Definition::new("doc").relation("Big", ["user"])), "doc#Big"),
        (
            "relation r: user permission p = r->x",
            doc(Definition::new("doc").relation("r", ["user"]).permission("p", Rewrite::arrow("r", "x"))),
            "doc#p",
        ),
        (
            "relation r: user permission q = r permission p = q->x",
            doc(Definition::new("doc")
                .relation("r", ["user"])
                .permission("q", "r")
                .permission("p", Rewrite::arrow("q", "x"))),
            "doc#p",
        ),
        (
            "relation r: user:* permission p = r->x",
            doc(Definition::new("doc").relation("r", ["user:*"]).permission("p", Rewrite::arrow("r", "x"))),
            "doc#p",
        ),
        (
            "relation r: user permission p = r - p",
            doc(Definition::new("doc")
                .relation("r", ["user"])
                .permission("p", Rewrite::from("r").but_not("p"))),
            "doc#p",
        ),
        ("relation r: doc#r", doc(Definition::new("doc").relation("r", ["doc#r"])), "doc#r"),
        (
            "relation r: user permission p: doc = r",
            doc(Definition::new("doc").relation("r", ["user"]).permission("p", "r").announcing(["doc"])),
            "doc#p",
        ),
        (
            "} caveat c(x int) { y > x } definition e { relation r: user with c",
            doc(Definition::new("doc"))
                .condition(Condition::new("c", "y > x").parameter("x", ParameterType::Int))
                .definition(Definition::new("e").relation("r", [Allowed::object("user").when("c")])),
            "c",
        ),
        (
            "} caveat c(x int) { x > } definition e { relation r: user with c",
            doc(Definition::new("doc"))
                .condition(Condition::new("c", "x >").parameter("x", ParameterType::Int))
                .definition(Definition::new("e").relation("r", [Allowed::object("user").when("c")])),
            "c",
        ),
        (
            "} caveat c(x int, y int) { x > 1 } definition e { relation r: user with c",
            doc(Definition::new("doc"))
                .condition(
                    Condition::new("c", "x > 1")
                        .parameter("x", ParameterType::Int)
                        .parameter("y", ParameterType::Int),
                )
                .definition(Definition::new("e").relation("r", [Allowed::object("user").when("c")])),
            "c(y)",
        ),
        (
            "} caveat c(x int) { x > 1 } definition e {",
            doc(Definition::new("doc"))
                .condition(Condition::new("c", "x > 1").parameter("x", ParameterType::Int))
                .definition(Definition::new("e")),
            "c",
        ),
        ("} definition doc {", doc(Definition::new("doc")).definition(Definition::new("doc")), "doc"),
    ];
    for (text, module, item) in cases {
        let parsed =
            Schema::parse(&format!("use typechecking definition user {{}} definition doc {{ {text} }}"));
        let built = Schema::build(&[user(), module]);
        let told = match &built {
            Ok(schema) => schema.warnings().first(),
            Err(error) => error.diagnostics().first(),
        };
        let told = told.unwrap_or_else(|| panic!("{text}: nothing is wrong"));
        assert_eq!((told.source(), told.item(), told.line()), ("docs", Some(item), 0), "{text}");
        assert_eq!(codes(built), codes(parsed), "{text}");
    }
}

/// What no text can say is refused before it is printed as something else.
#[test]
fn what_no_text_can_say_is_refused() {
    let deep = (0..70).fold(Rewrite::from("r"), |rewrite, nr| match nr % 2 {
        0 => rewrite.or("r"),
        _ => rewrite.and("r"),
    });
    let list = |kind| ParameterType::List(Box::new(kind));
    let types = (0..20).fold(ParameterType::Int, |kind, _| list(kind));
    let with = |condition| Module::new("odd").condition(condition);
    let doc = |definition: Definition| Module::new("odd").definition(definition);
    for (module, code) in [
        (doc(Definition::new("a { relation evil")), "F0104"),
        (doc(Definition::new("nil")), "F0104"),
        (doc(Definition::new(&*"a".repeat(500))), "F0104"),
        (doc(Definition::new("a").relation("r: user relation evil", ["user"])), "F0104"),
        (doc(Definition::new("a").relation("r", ["user with evil"])), "F0104"),
        (doc(Definition::new("a").relation::<&str>("r", [])), "F0308"),
        (doc(Definition::new("a").relation("r", ["user"]).permission("p", deep)), "F0105"),
        (doc(Definition::new("a").relation("r", ["user"]).deprecated("a\nb")), "F0111"),
        (doc(Definition::new("a").relation("r", ["user"]).deprecated("'\"")), "F0111"),
        (doc(Definition::new("a").relation("r", ["user"]).announcing(["user"])), "F0103"),
        (with(Condition::new("c", "true")), "F0405"),
        (with(Condition::new("c", "x > 1").parameter("x int, y", ParameterType::Int)), "F0104"),
        (with(Condition::new("c", "x.size() > 1").parameter("x", types)), "F0105"),
        (with(Condition::new("c", "x > 1 } definition evil {").parameter("x", ParameterType::Int)), "F0401"),
    ] {
        let error = Schema::build(&[user(), module]).unwrap_err();
        assert!(error.diagnostics().iter().any(|fault| fault.code() == code), "{code}: {error}");
    }
}

#[test]
fn a_long_chain_is_not_a_deep_one() {
    let long = (0..300).fold(Rewrite::from("r"), |rewrite, _| rewrite.or("r"));
    let a = Definition::new("a").relation("r", ["user"]).permission("p", long);
    let schema = Schema::build(&[user(), Module::new("a").definition(a)]).unwrap();
    assert!(Schema::parse(&schema.to_native().unwrap()).unwrap() == schema);
}

const NAMES: [&str; 3] = ["r0", "r1", "parent"];

fn rewrite(choices: &mut Choices<'_>, depth: usize, excluded: bool) -> Rewrite {
    if depth > 0 && choices.below(5) > 0 {
        let first = rewrite(choices, depth - 1, excluded);
        return match choices.below(4) {
            0 => first.or(rewrite(choices, depth - 1, excluded)),
            1 => first.and(rewrite(choices, depth - 1, excluded)),
            // Only relations are taken away: no permission excludes itself.
            2 => first.but_not(rewrite(choices, depth - 1, true)),
            _ => first.when("daytime"),
        };
    }
    match choices.below(4) {
        0 if !excluded => Rewrite::arrow("parent", NAMES[choices.below(3)]),
        1 if !excluded => Rewrite::arrow_all("parent", "p"),
        2 => Rewrite::itself(),
        _ => Rewrite::from(NAMES[choices.below(3)]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_modules_come_back_from_their_text(numbers in prop::collection::vec(any::<u16>(), 0..120)) {
        let mut choices = Choices(numbers.iter());
        let depth = 1 + choices.below(4);
        let folder = Definition::new("folder")
            .relation("parent", ["folder"])
            .relation("r0", ["user", "folder#r1"])
            .relation("r1", [Allowed::object("user").expiring(), Allowed::object("user").when("daytime")])
            .permission("p", rewrite(&mut choices, depth, false));
        let more = Definition::extend("folder").permission("q", rewrite(&mut choices, depth, false));
        let daytime = Condition::new("daytime", "hour > 8").parameter("hour", ParameterType::Int);
        let modules = [
            Module::new("more").definition(more),
            Module::new("all").definition(folder).condition(daytime),
            user(),
        ];
        let schema = Schema::build(&modules).unwrap();
        let text = schema.to_native().unwrap();
        prop_assert!(Schema::parse(&text).unwrap() == schema, "{}", text);
        prop_assert_eq!(format_native(&text).unwrap(), text);
    }
}
