//! `formwork authz`: every command of its page is run, and what the page shows is what it prints.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::cli::{Done, Home};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/authz-cli.md");

/// A shell in the folder, which finds the program as one would.
fn shell(folder: &Path, line: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_formwork")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec 2>&1; {line}")).current_dir(folder).env("PATH", path);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// The page with what its commands print, of which the files come first.
fn page_as_run(page: &str, folder: &Path) -> String {
    let blocks = || page.split("\n```").skip(1).step_by(2);
    for (head, body) in blocks().filter_map(|block| block.split_once('\n')) {
        if let Some((_, name)) = head.split_once(' ') {
            fs::write(folder.join(name), format!("{body}\n")).unwrap();
        }
    }
    let mut text = String::new();
    for (at, part) in page.split("\n```").enumerate() {
        if at > 0 {
            text.push_str("\n```");
        }
        match part.strip_prefix("console\n").filter(|_| at % 2 == 1) {
            None => text.push_str(part),
            Some(session) => {
                text.push_str("console");
                for line in session.lines().filter_map(|line| line.strip_prefix("$ ")) {
                    write!(text, "\n$ {line}").unwrap();
                    let printed = shell(folder, line);
                    if !printed.is_empty() {
                        write!(text, "\n{}", printed.trim_end()).unwrap();
                    }
                }
            }
        }
    }
    text
}

#[test]
fn the_page_shows_what_the_commands_print() {
    let home = Home::new();
    let page = fs::read_to_string(PAGE).unwrap();
    let run = page_as_run(&page, home.path("x").parent().unwrap());
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &run).unwrap();
    }
    let page = fs::read_to_string(PAGE).unwrap();
    for (shown, printed) in page.lines().zip(run.lines()) {
        assert_eq!(
            printed, shown,
            "docs/authz-cli.md: if that is meant, run the test with BLESS=1 and review the change"
        );
    }
    assert_eq!(page.len(), run.len());
    assert!(
        page.lines().filter(|line| line.starts_with("$ ") && line.contains("formwork authz ")).count() > 20
    );
}

const SCHEMA: &str = "
definition user {}
caveat by_day(hour int) { hour >= 8 && hour < 18 }
definition document {
  relation viewer: user | user:* | user with by_day
  relation banned: user
  permission view = viewer - banned
}";

fn folder() -> (Home, String, String) {
    let home = Home::new();
    let schema = home.write("app.zed", SCHEMA).display().to_string();
    let facts = "document:1#viewer@user:anna\ndocument:2#viewer@user:*\ndocument:2#banned@user:anna\n";
    let facts = home.write("facts.txt", facts).display().to_string();
    (home, schema, facts)
}

fn fed(home: &Home, arguments: &[&str], input: &str) -> Done {
    let mut command = home.formwork(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It answers while it reads, so both go on at once.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn files_are_read_from_standard_input_and_need_no_state() {
    let (home, schema, _) = folder();
    let done = fed(
        &home,
        &["authz", "check", "-s", &schema, "-r", "-", "document:1#view@user:bob"],
        "document:1#viewer@user:bob\n",
    );
    assert_eq!((done.code, done.out.as_str()), (Some(0), "allowed\n"), "{done:?}");
    let done = fed(&home, &["authz", "validate", "-"], "model\n  schema 1.1\ntype user\n");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!home.state().exists());
}

#[test]
fn a_question_that_cannot_be_answered_is_no_denial() {
    let (home, schema, facts) = folder();
    let run = |question: &str| home.run(&["authz", "check", "-s", &schema, "-r", &facts, question]);
    assert_eq!(run("document:1#view@user:anna").code, Some(0));
    assert_eq!(run("document:2#view@user:anna").code, Some(3));
    let done = run("document:2#veiw@user:anna");
    let said = "formwork: `document` has no relation or permission `veiw`, did you mean `view`?\n";
    assert_eq!((done.code, done.err.as_str()), (Some(1), said));
    let done = run("document:2#view");
    assert_eq!(done.code, Some(2), "{done:?}");
    let done = home.run(&["authz", "check", "-s", "nowhere.zed", "document:2#view@user:anna"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.starts_with("formwork: `nowhere.zed` cannot be read"), "{done:?}");
}

#[test]
fn a_batch_answers_every_line_in_its_place() {
    let (home, schema, facts) = folder();
    let (mut questions, mut expected) = (String::new(), String::new());
    for n in 0..20_000 {
        match n % 5 {
            0 => {
                questions.push_str(
                    "{\"object\":\"document:1\",\"permission\":\"view\",\"subject\":\"user:anna\"}\n",
                );
                expected.push_str("{\"decision\":\"allowed\"}\n");
            }
            1 => {
                questions.push_str(
                    "{\"object\":\"document:2\",\"permission\":\"view\",\"subject\":\"user:anna\"}\n",
                );
                expected.push_str("{\"decision\":\"denied\"}\n");
            }
            // Nothing is stored about either of them; escapes are read as what they stand for.
            2 => {
                writeln!(
                    questions,
                    "{{\"object\":\"document:new{n}\",\"permission\":\"view\",\"subject\":\"user:\\u0062\"}}"
                )
                .unwrap();
                expected.push_str("{\"decision\":\"denied\"}\n");
            }
            3 => {
                writeln!(
                    questions,
                    "{{\"object\":\"document:2\",\"permission\":\"view\",\"subject\":\"user:u{n}\"}}"
                )
                .unwrap();
                expected.push_str("{\"decision\":\"allowed\"}\n");
            }
            _ => {
                questions.push_str("{\"object\":\"document:2\"}\n");
                let line = n + 1;
                writeln!(
                    expected,
                    "{{\"error\":\"missing field `permission`, at column 23\",\"line\":{line}}}"
                )
                .unwrap();
            }
        }
    }
    // The last line needs no end.
    let questions_path = home.write("questions.jsonl", questions.trim_end()).display().to_string();
    let arguments = ["authz", "check", "-s", &schema, "-r", &facts, "--batch"];
    let done = home.run(&[&arguments[..], &[&questions_path]].concat());
    assert!(done.out == expected, "{}", difference(&done.out, &expected));
    assert_eq!(done.code, Some(1));
    let done = fed(&home, &[&arguments[..], &["-"]].concat(), &questions);
    assert!(done.out == expected, "{}", difference(&done.out, &expected));
}

fn difference(given: &str, expected: &str) -> String {
    let found =
        given.lines().zip(expected.lines()).enumerate().find(|(_, (given, expected))| given != expected);
    format!("{found:?}, {} and {} lines", given.lines().count(), expected.lines().count())
}

#[test]
fn a_batch_can_be_talked_to() {
    let (home, schema, facts) = folder();
    let mut command = home.formwork(&["authz", "check", "-s", &schema, "-r", &facts, "--batch", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut ask, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for (subject, expected) in [("user:anna", "allowed"), ("user:bob", "denied"), ("user:anna", "allowed")] {
        let question = json!({"object": "document:1", "permission": "view", "subject": subject});
        writeln!(ask, "{question}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), json!({"decision": expected}));
    }
    drop(ask);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_schema_of_the_service_is_drawn_and_asked_without_a_file() {
    let home = Home::new();
    let dot = home.run(&["authz", "graph"]);
    assert_eq!(dot.code, Some(0), "{dot:?}");
    assert!(dot.out.contains("task -> board [label=\"board\"]"), "{}", dot.out);
    let facts = home.write("facts.txt", "project:1#org@organization:a\norganization:a#owner@user:anna\n");
    let facts = facts.display().to_string();
    let done = home.run(&["authz", "check", "-r", &facts, "project:1#administer@user:anna"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "allowed\n"), "{done:?}");
}

#[test]
fn an_import_writes_over_nothing_and_keeps_what_cannot_be_said() {
    let home = Home::new();
    let model = "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define a: [user] but not b\n    define b: [user] but not a\n";
    let model = home.write("model.fga", model).display().to_string();
    let tuples = r#"{"tuples": [{"key": {"user": "user:anna", "relation": "a", "object": "doc:1"}, "timestamp": "x"}, {"user": 1}]}"#;
    let tuples = home.write("tuples.json", tuples).display().to_string();
    let out = home.path("new").display().to_string();
    let arguments = ["authz", "import", "openfga", &model, "--tuples", &tuples, "--out", &out, "--json"];
    let done = home.run(&arguments);
    assert_eq!(done.code, Some(0), "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&report["native"], &report["relationships"]), (&json!(false), &json!(1)));
    assert_eq!(report["left_out"][0]["count"], 1, "{report}");
    assert!(home.path("new/model.json").exists() && home.path("new/relationships.txt").exists());
    let again = home.run(&arguments);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("is there already"), "{again:?}");
}
