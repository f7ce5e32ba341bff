//! The pages in `docs` say what is so: their links lead somewhere, what they show of a program is the program, and what
//! they show of its output is what it prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README and pages, by their paths from the root.
fn pages() -> Vec<(PathBuf, String)> {
    let mut names: Vec<PathBuf> =
        ["README.md", "authz/README.md", "benches/README.md"].iter().map(PathBuf::from).collect();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = Path::new("docs").join(entry.unwrap().file_name());
        names.extend(path.extension().is_some_and(|end| end == "md").then_some(path));
    }
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&root().join(name)))).collect()
}

/// The texts in fences of a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    let pieces = page.split(fence.as_str()).skip(1);
    pieces.map(|piece| piece.split_once("```").map_or(piece, |(block, _)| block)).collect()
}

/// `[text](target)`, but not in code.
fn links(page: &str) -> Vec<(&str, &str)> {
    let prose = page.split("```").step_by(2);
    let found = prose
        .flat_map(|prose| prose.split("](").collect::<Vec<_>>().windows(2).map(link).collect::<Vec<_>>());
    found.flatten().collect()
}

fn link<'p>(pair: &[&'p str]) -> Option<(&'p str, &'p str)> {
    let text = pair[0].rsplit_once('[')?.1;
    Some((text, pair[1].split_once(')')?.0))
}

/// As GitHub makes them from headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let keep = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(keep).collect()).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut broken = Vec::new();
    for (name, page) in pages() {
        for (text, target) in links(&page) {
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { name.clone() } else { name.parent().unwrap().join(file) };
            let path = root().join(path);
            let at = || format!("{}: [{text}]({target})", name.display());
            if !path.exists() {
                broken.push(format!("{}: there is no such file", at()));
            } else if !anchor.is_empty() && !anchors(&read(&path)).contains(anchor) {
                broken.push(format!("{}: there is no such heading", at()));
            }
            // The name of a test.
            let test = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
            let is_name = |text: &&str| {
                text.contains('_')
                    && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
            };
            if let Some(test) = test.filter(is_name)
                && file.ends_with(".rs")
                && !read(&path).contains(&format!("fn {test}("))
            {
                broken.push(format!("{}: there is no such test", at()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_pages_show_of_a_run_is_what_is_printed() {
    let mut shown = 0;
    for (name, page) in pages() {
        for block in blocks(&page, "console") {
            let (command, output) = block.split_once('\n').unwrap();
            // Run and compared by the service's own tests, which have the program.
            if command.contains("formwork ") {
                continue;
            }
            let program = match command.rsplit_once("--bin ") {
                Some((_, program)) => program,
                // The reader's own program, of the same page.
                None => "ten_minutes",
            };
            let expected = root().join("examples/expected").join(program).with_extension("txt");
            assert_eq!(output, read(&expected), "{}: {command}", name.display());
            shown += 1;
        }
    }
    assert!(shown >= 3, "{shown}");
}

#[test]
fn what_pages_show_of_a_program_is_the_program() {
    let program = |name: &str| read(&root().join("examples/src/bin").join(name).with_extension("rs"));
    let page = read(&root().join("docs/model-your-app.md"));
    let ten_minutes = program("ten_minutes");
    let (_, code) = ten_minutes.split_once("\n\n").unwrap();
    assert_eq!(blocks(&page, "rust")[0], code);

    let page = read(&root().join("docs/from-roles.md"));
    let roles = program("roles_in_a_table");
    for sql in blocks(&page, "sql") {
        assert!(roles.contains(sql.trim()), "{sql}");
    }
}
