//! Files of other systems: what is read, and how what cannot be read is told.

use formwork_authz::files::{
    Answer, Question, Scenario, import_openfga, read_relationships, read_relationships_for, read_schema,
    read_zed_backup,
};
use formwork_authz::{Decision, Graph, Relationship, Schema, Subject};

#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T, formwork_authz::files::FileError>, expected: &str) {
    assert_eq!(read.unwrap_err().to_string(), expected);
}

fn texts(relationships: &[Relationship]) -> Vec<String> {
    relationships.iter().map(ToString::to_string).collect()
}

#[test]
fn tuples_are_read_in_every_format_that_their_tools_write() {
    let expected = ["document:7#viewer@user:anna", "document:7#viewer@team:eng#member[by_day:{\"from\":8}]"];
    let csv =
        "user_type,user_id,user_relation,relation,object_type,object_id,condition_name,condition_context
user,anna,,viewer,document,7,,
team,eng,member,viewer,document,7,by_day,\"{\"\"from\"\": 8}\"
";
    let first = r#"{"user": "user:anna", "relation": "viewer", "object": "document:7"}"#;
    let second = r#"{"user": "team:eng#member", "relation": "viewer", "object": "document:7", "condition": {"name": "by_day", "context": {"from": 8}}}"#;
    let stored = format!(r#"{{"key": {second}, "timestamp": "2026-01-01T00:00:00Z"}}"#);
    let files = [
        ("tuples.csv", csv.to_owned()),
        ("tuples.json", format!("[{first}, {second}]")),
        ("page.json", format!(r#"{{"tuples": [{{"key": {first}}}, {stored}], "continuation_token": ""}}"#)),
        ("tuples.jsonl", format!("{first}\n\n{stored}\n")),
        ("stdin", format!("{first}\n{second}")),
        ("tuples.yaml", format!("- {first}\n- {second}\n")),
        (
            "zed.yaml",
            format!(
                "schema: definition user {{}}\nrelationships: |-\n  {}\n  // and\n  {}\n",
                expected[0], expected[1]
            ),
        ),
        ("facts.txt", format!("// facts\n\n  {}\n{}", expected[0], expected[1])),
    ];
    for (name, text) in files {
        let read = read_relationships(name, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(texts(&read), expected, "{name}");
    }
}

#[test]
fn a_tuple_that_is_none_is_told_with_its_place() {
    refused(
        read_relationships(
            "t.jsonl",
            "{\"user\": \"anna\", \"relation\": \"viewer\", \"object\": \"document:7\"}\n{\"user\": 1}",
        ),
        "error: `document:7#viewer@anna`: expected `:` after the subject type, at column 23
 --> t.jsonl:1:1
  |
1 | {\"user\": \"anna\", \"relation\": \"viewer\", \"object\": \"document:7\"}
  | ^

error: this is no tuple
 --> t.jsonl:2:1
  |
2 | {\"user\": 1}
  | ^
  = help: a tuple is {\"user\": \"user:anna\", \"relation\": \"viewer\", \"object\": \"document:7\"}",
    );
    let csv = "user_type,user_id,relation,object_type,object_id\nuser,anna,viewer,document\n";
    let error = read_relationships("t.csv", csv).unwrap_err();
    let fault = &error.faults()[0];
    assert_eq!((fault.line(), fault.message()), (2, "this row has 4 fields, and the first line has 5"));
    assert!(fault.help().unwrap().contains("user_relation"));
}

#[test]
fn a_relationship_without_a_place_is_told_with_the_reason() {
    let schema = Schema::parse("definition user {} definition doc { relation viewer: user }").unwrap();
    refused(
        read_relationships_for(&schema, "facts.txt", "doc:1#viewer@user:anna\ndoc:1#viewer@doc:2\n"),
        "error: `doc:1#viewer@doc:2` has no place in the schema
 --> facts.txt:2:1
  |
2 | doc:1#viewer@doc:2
  | ^
  = help: `doc#viewer` does not take `doc`",
    );
    for (fact, reason) in [
        ("dok:1#viewer@user:a", "the model has no type `dok`"),
        ("doc:1#editor@user:a", "`doc` stores nothing in `editor`"),
        ("doc:1#viewer@user:*", "`doc#viewer` does not take `user:*`"),
        ("doc:1#viewer@user:a[late]", "`doc#viewer` does not take `user` with the condition `late`"),
    ] {
        let error = read_relationships_for(&schema, "facts.txt", fact).unwrap_err();
        assert_eq!(error.faults()[0].help(), Some(reason), "{fact}");
    }
}

#[test]
fn a_fault_in_a_schema_inside_of_a_file_has_its_place_in_the_file() {
    let zed = "---
schema: |-
  definition user {}
  definition doc {
    relation viewer: usr
  }
";
    let error = Scenario::read("app.yaml", zed, &mut |_| None).unwrap_err();
    let diagnostic = &error.schema().unwrap().diagnostics()[0];
    assert_eq!((diagnostic.source(), diagnostic.line(), diagnostic.column()), ("app.yaml", 5, 22), "{error}");
    let store = "name: x
model: |
  model
    schema 1.1
  type user
  type doc
    relations
      define viewer: [usr]
";
    let error = Scenario::read("app.fga.yaml", store, &mut |_| None).unwrap_err();
    let diagnostic = &error.schema().unwrap().diagnostics()[0];
    assert_eq!(
        (diagnostic.source(), diagnostic.line(), diagnostic.column()),
        ("app.fga.yaml", 8, 23),
        "{error}"
    );
}

#[test]
fn what_a_file_names_and_nobody_has_is_told_where_it_is_named() {
    let text = "model_file: model.fga\ntuples: []\n";
    refused(
        Scenario::read("s.fga.yaml", text, &mut |_| None),
        "error: the model file `model.fga` cannot be read
 --> s.fga.yaml:1:13
  |
1 | model_file: model.fga
  |             ^",
    );
    let error = Scenario::read("s.yaml", "schema: [", &mut |_| None).unwrap_err();
    assert!(error.faults()[0].line() > 0, "{error}");
    let error = Scenario::read("s.yaml", "name: x\n", &mut |_| None).unwrap_err();
    assert!(error.to_string().contains("neither a store file nor a validation file"), "{error}");
    let modules = "schema: '1.2'\ncontents:\n  - core.fga\n";
    let error = read_schema("fga.mod", modules, &mut |_| None).unwrap_err();
    assert_eq!(
        (error.faults()[0].line(), error.faults()[0].message()),
        (3, "the module `core.fga` cannot be read")
    );
    let core = "module core\ntype user\n";
    let schema = read_schema("a/fga.mod", modules, &mut |path| (path == "core.fga").then(|| core.to_owned()));
    assert_eq!(schema.unwrap().object_types().collect::<Vec<_>>(), ["user"]);
}

#[test]
fn what_validation_lists_is_all_that_there_is() {
    let text = "
schema: |-
  definition user {}
  definition doc {
    relation viewer: user | user:*
    relation banned: user
    permission view = viewer - banned
  }
relationships: |-
  doc:1#viewer@user:anna
  doc:1#viewer@user:bob
  doc:2#viewer@user:*
  doc:2#banned@user:eve
validation:
  doc:1#view:
    - '[user:anna] is <doc:1#viewer>'
  doc:2#view:
    - '[user:* - {user:eve}] is <doc:2#viewer>'
";
    let report = Scenario::read("v.yaml", text, &mut |_| None).unwrap().run();
    let failure = &report.failures[0];
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    assert_eq!((failure.line, failure.given.to_string()), (15, "user:anna, user:bob".to_owned()));
    assert_eq!(report.passed, 4);
}

#[test]
fn an_import_keeps_every_answer() {
    let model = "
model
  schema 1.1
type user
type Group
  relations
    define member: [user, Group#member]
type doc
  relations
    define parent: [doc]
    define blocked: [user]
    define owner: [user]
    define can-view: ([user, user:*, Group#member with late] or owner or can-view from parent) but not blocked
condition late(hour: int) {
  hour > 18
}
";
    let tuples = [
        "doc:1#owner@user:anna",
        "doc:2#parent@doc:1",
        "doc:2#can-view@Group:eng#member[late]",
        "Group:eng#member@user:bob",
        "doc:1#blocked@user:carl",
        "doc:1#can-view@user:*",
    ];
    let tuples: Vec<Relationship> = tuples.iter().map(|text| text.parse().unwrap()).collect();
    let before = Graph::load(Schema::parse_openfga(model).unwrap(), tuples.clone());
    let imported = import_openfga(Schema::parse_openfga(model).unwrap(), tuples.into_iter().map(Ok));
    assert!(imported.not_native.is_empty(), "{:?}", imported.not_native);
    assert!(imported.unsaid.is_empty(), "{:?}", imported.unsaid);
    let after = Graph::load(imported.schema.clone(), imported.relationships.clone());
    assert_eq!(after.ignored(), 0);
    let mut allowed = 0;
    for object in ["doc:1", "doc:2", "doc:3"] {
        for permission in ["owner", "can-view", "blocked"] {
            for subject in ["user:anna", "user:bob", "user:carl", "user:*", "Group:eng#member"] {
                let question: Relationship = format!("{object}#{permission}@{subject}").parse().unwrap();
                let asked = imported.question(&question);
                let ask = |graph: &Graph, question: &Relationship| {
                    graph.check(question.subject(), question.relation(), question.object()).unwrap()
                };
                let (was, is) = (ask(&before, &question), ask(&after, &asked));
                assert_eq!(was, is, "{question} and {asked}");
                allowed += usize::from(was == Decision::Allowed);
            }
        }
    }
    assert!(allowed > 4, "{allowed}");
    let renamed: Vec<&str> = imported.renamed.iter().map(|(_, after)| after.as_str()).collect();
    assert_eq!(renamed, ["group", "can_view", "direct_can_view"]);
}

#[test]
fn an_import_that_the_native_language_cannot_say_stays_as_it_was() {
    let model = "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define a: [user] but not b\n    define b: [user] but not a\n";
    let imported = import_openfga(
        Schema::parse_openfga(model).unwrap(),
        ["doc:1#a@user:x", "doc:1#gone@user:x"].map(|text| Ok(text.parse().unwrap())),
    );
    assert_eq!(imported.not_native.len(), 2, "{:?}", imported.not_native);
    assert_eq!(texts(&imported.relationships), ["doc:1#a@user:x"]);
    let unsaid = &imported.unsaid[0];
    assert_eq!((unsaid.count, unsaid.reason.as_str()), (1, "`doc` stores nothing in `gone`"));
    assert_eq!(unsaid.examples, ["doc:1#gone@user:x"]);
}

/// A container as `zed backup create` writes it, with one block; literals only, and one copy where the codec is Snappy.
fn backup(is_snappy: bool) -> Vec<u8> {
    fn long(value: i64) -> Vec<u8> {
        let mut value = ((value << 1) ^ (value >> 63)) as u64;
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }
    let text = |text: &str| [long(text.len() as i64), text.as_bytes().to_vec()].concat();
    let names = [
        "object_type",
        "object_id",
        "relation",
        "subject_object_type",
        "subject_object_id",
        "subject_relation",
        "caveat_name",
    ];
    let mut fields: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","type":"string"}}"#)).collect();
    fields.push(r#"{"name":"caveat_context","type":"bytes"}"#.to_owned());
    fields
        .push(r#"{"name":"expiration","type":{"type":"long","logicalType":"timestamp-millis"}}"#.to_owned());
    let described = format!(
        r#"[{{"type":"record","name":"com.authzed.spicedb.backup.relationship_v1","fields":[{}]}},{{"type":"record","name":"com.authzed.spicedb.backup.schema_v1","fields":[{{"name":"schema_text","type":"string"}}]}}]"#,
        fields.join(",")
    );
    let schema = "definition user {}\n\ncaveat late(hour int) { hour > 18 }\n\ndefinition doc { relation viewer: user with late }\n";
    let mut block = [long(1), text(schema)].concat();
    // {"hour": 19} as protobuf: a map's entry with a key, and a number of eight bytes.
    let number = [&[0x11][..], &19_f64.to_le_bytes()[..]].concat();
    let entry = [&[0x0a, 4][..], b"hour", &[0x12, number.len() as u8][..], &number].concat();
    let context = [&[0x0a, entry.len() as u8][..], &entry].concat();
    for id in ["1", "1"] {
        block.extend(long(0));
        for part in ["doc", id, "viewer", "user", "anna", "", "late"] {
            block.extend(text(part));
        }
        block.extend(long(context.len() as i64));
        block.extend(&context);
        block.extend(long(-62_135_596_800_000));
    }
    let packed = if is_snappy { snappy(&block) } else { block };
    let sync = [7_u8; 16];
    let codec = if is_snappy { "snappy" } else { "null" };
    [
        &b"Obj\x01"[..],
        &long(2),
        &text("avro.codec"),
        &text(codec),
        &text("avro.schema"),
        &text(&described),
        &long(0),
        &sync,
        &long(3),
        &long(packed.len() as i64),
        &packed,
        &sync,
    ]
    .concat()
}

fn snappy(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut length = block.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    // The last relationship is the one before it once more: a copy, of at most 64 bytes at a time.
    let record =
        (block.len() - 1 - block.windows(9).position(|part| part == b"\x00\x06doc\x021\x0cv").unwrap()) / 2
            + 1;
    let (head, tail) = block.split_at(block.len() - record);
    for literal in head.chunks(60) {
        out.push(((literal.len() - 1) << 2) as u8);
        out.extend(literal);
    }
    let mut left = tail.len();
    while left > 0 {
        let count = left.min(64);
        out.push(((count - 1) << 2 | 2) as u8);
        out.extend((record as u16).to_le_bytes());
        left -= count;
    }
    let sum = !block.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    });
    out.extend(sum.to_be_bytes());
    out
}

#[test]
fn a_backup_is_read_packed_or_not_and_a_broken_one_is_refused() {
    for is_snappy in [false, true] {
        let bytes = backup(is_snappy);
        let (schema, relationships) =
            read_zed_backup("b.zedbackup", &bytes).unwrap_or_else(|error| panic!("{error}"));
        let schema = Schema::parse(&schema).unwrap();
        assert_eq!(texts(&relationships), ["doc:1#viewer@user:anna[late:{\"hour\":19}]"; 2]);
        let graph = Graph::load(schema, relationships);
        assert_eq!(
            graph.check(&Subject::new("user", "anna"), "viewer", &"doc:1".parse().unwrap()).unwrap(),
            Decision::Allowed
        );
        // Whatever is cut off or changed in the packed block is seen.
        for end in 0..bytes.len() {
            assert!(read_zed_backup("b", &bytes[..end]).is_err(), "{end} of {}", bytes.len());
        }
        if is_snappy {
            let starts = bytes.len() - 16 - 100;
            for at in starts..bytes.len() - 16 {
                let mut broken = bytes.clone();
                broken[at] ^= 0x10;
                assert!(read_zed_backup("b", &broken).is_err(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_question_is_told_as_it_is_asked() {
    let fact: Relationship = "doc:1#view@user:anna".parse().unwrap();
    assert_eq!(Question::check(&fact).to_string(), "doc:1#view@user:anna");
    assert_eq!(Answer::List(["user:a".to_owned(), "user:b".to_owned()].into()).to_string(), "user:a, user:b");
}
