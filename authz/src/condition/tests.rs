use super::*;

fn condition(parameters: &[(&str, ParameterType)], expression: &str) -> Result<Condition, String> {
    let info = ConditionInfo {
        name: "test".into(),
        doc: "".into(),
        parameters: parameters.iter().map(|(name, of)| ((*name).into(), of.clone())).collect(),
        expression: expression.into(),
        origin: Default::default(),
        span: Default::default(),
    };
    Condition::compile(&info, Dialect::Native)
}

#[track_caller]
fn outcome(parameters: &[(&str, ParameterType)], expression: &str, stored: &str, request: &str) -> Outcome {
    let condition = condition(parameters, expression).unwrap();
    let map = |text: &str| serde_json::from_str::<Map<String, Json>>(text).unwrap();
    let stored = condition.bind(&map(stored)).unwrap();
    condition.evaluate(Some(&stored), &map(request))
}

#[test]
fn stored_context_wins_over_the_request() {
    let int = [("limit", ParameterType::Int)];
    assert_eq!(outcome(&int, "limit > 5", r#"{"limit": 3}"#, r#"{"limit": 9}"#), Outcome::Fails);
    assert_eq!(outcome(&int, "limit > 5", "{}", r#"{"limit": 9}"#), Outcome::Holds);
    assert_eq!(outcome(&int, "limit > 5", "{}", r#"{"other": 9}"#), Outcome::Missing(vec![0]));
}

#[test]
fn what_is_missing_counts_only_where_it_decides() {
    let both = [("a", ParameterType::Bool), ("b", ParameterType::Bool), ("unused", ParameterType::Bool)];
    assert_eq!(outcome(&both, "a || b", "{}", r#"{"b": true}"#), Outcome::Holds);
    assert_eq!(outcome(&both, "a && b", "{}", r#"{"b": false}"#), Outcome::Fails);
    assert_eq!(outcome(&both, "a && b", "{}", r#"{"b": true}"#), Outcome::Missing(vec![0]));
    assert_eq!(outcome(&both, "a && b", "{}", "{}"), Outcome::Missing(vec![0, 1]));
}

#[test]
fn parameters_of_every_type_are_read() {
    use ParameterType::*;
    for (of, expression, json) in [
        (Any, "x.a == 1.0", r#"{"x": {"a": 1}}"#),
        (Bool, "x", r#"{"x": true}"#),
        (String, "x == 'y'", r#"{"x": "y"}"#),
        (Int, "x == 7", r#"{"x": 7.0}"#),
        (Uint, "x == 7u", r#"{"x": "7"}"#),
        (Double, "x < 1.0", r#"{"x": 0.5}"#),
        (Bytes, "x == b'hi'", r#"{"x": "aGk="}"#),
        (Duration, "x == duration('90m')", r#"{"x": "1h30m"}"#),
        (Timestamp, "x < timestamp('2026-01-01T00:00:00Z')", r#"{"x": "2025-12-31T23:59:59Z"}"#),
        (IpAddress, "x.in_cidr('10.0.0.0/8') && x == ipaddress('10.1.2.3')", r#"{"x": "10.1.2.3"}"#),
        (IpAddress, "x.in_cidr('2001:db8::/32')", r#"{"x": "2001:db8::1"}"#),
        (IpAddress, "!x.in_cidr('2001:db8::/32')", r#"{"x": "10.0.0.1"}"#),
        (List(Box::new(String)), "'b' in x && x.exists(y, y == 'a')", r#"{"x": ["a", "b"]}"#),
        (Map(Box::new(Int)), "x.a == 1 && x['b'] == 2", r#"{"x": {"a": 1, "b": 2}}"#),
        (Map(Box::new(Any)), "x.isSubtreeOf({'a': {'b': 1.0, 'c': 2.0}})", r#"{"x": {"a": {"b": 1}}}"#),
    ] {
        assert_eq!(
            outcome(&[("x", of.clone())], expression, "{}", json),
            Outcome::Holds,
            "{of:?} {expression}"
        );
    }
}

#[test]
fn a_value_of_another_type_is_an_error() {
    let Outcome::Fault(error) = outcome(&[("x", ParameterType::Int)], "x > 1", "{}", r#"{"x": "many"}"#)
    else {
        panic!("it is not of the type");
    };
    assert_eq!(error.to_string(), "condition `test`: parameter `x` must be an integer of 64 bits");
    let unknown = condition(&[], "true").unwrap().bind(&serde_json::from_str(r#"{"y": 1}"#).unwrap());
    assert_eq!(unknown.unwrap_err().to_string(), "condition `test`: `y` is not one of its parameters");
}

#[test]
fn a_condition_that_runs_away_is_an_error() {
    let list = ParameterType::List(Box::new(ParameterType::Int));
    let many = format!(r#"{{"x": [{}]}}"#, ["1"; 1_000].join(","));
    let cubic = "x.all(a, x.all(b, x.all(c, a + b + c > 0)))";
    let Outcome::Fault(error) = outcome(&[("x", list.clone())], cubic, "{}", &many) else {
        panic!("it would run for minutes");
    };
    assert!(error.reason().contains("steps"), "{error}");
    assert_eq!(outcome(&[("x", list.clone())], cubic, "{}", r#"{"x": [1, 2, 3]}"#), Outcome::Holds);
    assert_eq!(outcome(&[("x", list)], "x.all(a, a > 0)", "{}", &many), Outcome::Holds);
}

#[test]
fn what_fails_is_an_error_and_no_answer() {
    for (expression, json) in [("10 / x > 1", r#"{"x": 0}"#), ("x + 1", r#"{"x": 1}"#)] {
        let outcome = outcome(&[("x", ParameterType::Int)], expression, "{}", json);
        assert!(matches!(outcome, Outcome::Fault(_)), "{outcome:?}");
    }
}

#[test]
fn an_expression_that_is_none_is_not_compiled() {
    for expression in ["", "a +", "y == 1", "((((", "x.all(y, z)"] {
        assert!(condition(&[("x", ParameterType::Int)], expression).is_err(), "{expression}");
    }
}

/// The fuzz found it: the library's words hold the values, and those of a map in another order each time.
#[test]
fn a_condition_that_fails_tells_no_values() {
    use ParameterType::*;
    for (of, expression, json, reason) in [
        (
            Map(Box::new(Int)),
            "x / 2 == 1",
            r#"{"x": {"secret": 1}}"#,
            "`div` does not take a value of type map and a value of type int",
        ),
        (
            String,
            "ipaddress(x) == ipaddress(x)",
            r#"{"x": "secret"}"#,
            "`ipaddress`: the text is not an ip address",
        ),
        (String, "'a'.matches(x)", r#"{"x": "secret("}"#, "`matches` cannot take what it was given"),
        (
            String,
            "timestamp(x) == timestamp(x)",
            r#"{"x": "secret"}"#,
            "`timestamp` cannot take what it was given",
        ),
        (Map(Box::new(Int)), "x['secret'] == 1", r#"{"x": {"other": 1}}"#, "a map has no such key"),
        (Int, "1 / (x - 7) == 1", r#"{"x": 7}"#, "division by zero"),
        (Int, "x + x > 0", r#"{"x": 9223372036854775807}"#, "`add` gives a number that is too large"),
        (List(Box::new(String)), "x[7] == 'a'", r#"{"x": ["secret"]}"#, "a list has no such item"),
    ] {
        match outcome(&[("x", of)], expression, json, "{}") {
            Outcome::Fault(error) => assert_eq!(error.reason(), reason, "{expression}"),
            other => panic!("{expression}: {other:?}"),
        }
    }
}

/// The fuzz found it: 49 comparisons in a row took the whole stack of a thread when they were evaluated.
#[test]
fn whatever_is_deep_enough_to_be_read_is_evaluated() {
    let shapes: [fn(usize) -> std::string::String; 6] = [
        |n| format!("x{}", " < x".repeat(n)),
        |n| format!("{}x > 1", "!".repeat(n)),
        |n| format!("{}x{} == x", "[".repeat(n), "]".repeat(n)),
        |n| format!("x{} > 1", " + x".repeat(n)),
        |n| format!("{}x > 1{}", "[1].exists(y, ".repeat(n), ")".repeat(n)),
        |n| format!("{}x > 1", "x > 1 ? true : ".repeat(n)),
    ];
    for (nr, shape) in shapes.into_iter().enumerate() {
        let int = [("x", ParameterType::Int)];
        let read = (1..100).take_while(|&n| condition(&int, &shape(n)).is_ok()).count();
        assert!((3..99).contains(&read), "{nr}: {read}");
        let _ = outcome(&int, &shape(read), r#"{"x": 3}"#, "{}");
    }
    // What is balanced is not deep.
    let either = [("x", ParameterType::Int)];
    assert_eq!(
        outcome(&either, &format!("x > 3{}", " || x > 2".repeat(200)), r#"{"x": 3}"#, "{}"),
        Outcome::Holds
    );
}
