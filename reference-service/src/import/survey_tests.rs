use super::*;
use crate::modules::projects::Stage;

const MAPPING: &str = r#"
name = "messy"
key = ["Permit"]
currency = "USD"
date_formats = ["%m/%d/%Y", "epoch_ms"]
[columns]
number = "Permit"
address = "Where"
issued_on = "Issued"
valuation = "Cost"
status = "State"
[status]
"Open" = "course_of_construction"
"Done" = "completed"
"#;

const HEADER: &str = "Permit,Where,Issued,Cost,State\n";

struct Read {
    counts: Counts,
    encoding: &'static str,
    rows: Vec<PermitRow>,
    /// The report below its header.
    report: Vec<String>,
}

fn try_read(bytes: &[u8], mapping: &str) -> Result<Read, ImportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("permits.csv");
    std::fs::write(&path, bytes).unwrap();
    let mut report = Report::beside(&path)?;
    let survey =
        Survey::run(&path, Some(Mapping::parse("messy", mapping)?), &mut report, &Progress::hidden())?;
    let rows = survey.rows()?.collect::<Result<Vec<_>, _>>()?;
    let report = std::fs::read_to_string(report.path()).unwrap_or_default();
    let counts = survey.counts();
    assert_eq!(counts.rows, counts.keys + counts.updated + counts.duplicates + counts.refused, "{counts}");
    assert_eq!(rows.len() as u64, counts.keys);
    Ok(Read {
        counts,
        encoding: survey.encoding(),
        rows,
        report: report.lines().skip(1).map(str::to_owned).collect(),
    })
}

fn read(text: &str) -> Read {
    try_read(format!("{HEADER}{text}").as_bytes(), MAPPING).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    let message = try_read(bytes, MAPPING).err().unwrap().to_string();
    assert!(!message.contains('\n'));
    // Without the path, which is another each time.
    message.split_once("permits.csv` ").map_or(message.clone(), |(_, rest)| rest.to_owned())
}

/// The report lines of one row on line 2.
fn check_report(row: &str, expected: &[&str]) {
    let read = read(row);
    assert_eq!(read.report, expected, "{row}");
}

#[test]
fn a_row_becomes_a_permit() {
    let read = read("  A  1 ,12   Main  St ,01/03/1984,\"$20,000.00\",open \nA2,,441936000000,,DONE");
    let [first, second] = read.rows.as_slice() else { panic!("{:?}", read.rows) };
    assert_eq!((first.line, first.key.as_str(), first.number.as_str()), (2, "A 1", "A 1"));
    assert_eq!((first.name.as_str(), first.address.as_deref()), ("12 Main St", Some("12 Main St")));
    assert_eq!(first.issued_on.unwrap().to_string(), "1984-01-03");
    assert_eq!((first.valuation.unwrap().to_string().as_str(), first.currency.as_str()), ("20000", "USD"));
    assert_eq!((first.status_raw.as_str(), first.stage), ("open", Stage::CourseOfConstruction));
    assert_eq!(first.status().as_str(), "active");
    assert_eq!((second.line, second.name.as_str(), second.address.as_deref()), (3, "A2", None));
    assert_eq!(second.issued_on.unwrap().to_string(), "1984-01-03");
    assert_eq!((second.valuation, second.contractor.as_deref()), (None, None));
    assert_eq!(second.status().as_str(), "inactive");
    assert!(read.report.is_empty());
}

#[test]
fn every_encoding_gives_the_same_rows() {
    let text = format!("{HEADER}A1,Peña 5,01/03/1984,10,Open\r\n");
    let plain = try_read(text.as_bytes(), MAPPING).unwrap();
    let wide = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(to_bytes).collect()
    };
    let western: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for (bytes, encoding) in [
        (format!("\u{feff}{text}").into_bytes(), "UTF-8"),
        (wide(u16::to_le_bytes), "UTF-16LE"),
        (wide(u16::to_be_bytes), "UTF-16BE"),
        (western, "windows-1252"),
        (text.replace("\r\n", "\n").into_bytes(), "UTF-8"),
        (text.replace("\r\n", "\n").replace('\n', "\r").into_bytes(), "UTF-8"),
        (text.replace("Permit", " Permit ").into_bytes(), "UTF-8"),
    ] {
        let read = try_read(&bytes, MAPPING).unwrap();
        assert_eq!((read.encoding, &read.rows), (encoding, &plain.rows));
    }
}

#[test]
fn each_mistake_is_reported_with_line_column_value_and_reason() {
    check_report(
        "A1,,02/30/1984,-5,Lost",
        &[
            "2,Issued,02/30/1984,\"read as `%m/%d/%Y`, this is no day of the years 1800 to 2200\",refused",
            "2,Cost,-5,is negative: a valuation is zero or more,refused",
            "2,State,Lost,\"is not in the mapping's [status]: add it there, or set `unknown_status`\",refused",
        ],
    );
    check_report(
        "A1,,soon,,Open",
        &["2,Issued,soon,is not a date written as `%m/%d/%Y` or `epoch_ms`,refused"],
    );
    check_report(" ,,,,Open", &["2,Permit,,is empty: a permit needs its number,refused"]);
    check_report("A\x001,,,,Open", &["2,Permit,A 1,the cell has a NUL byte,refused"]);
    let ragged = "the header has 5 columns: look for a missing quote or delimiter";
    check_report("A1,,,Open", &[&format!("2,,4 cells,{ragged},refused")]);
    check_report("A1,1 Main St, Austin,,,Open", &[&format!("2,,6 cells,{ragged},refused")]);
    let quote = "text follows the closing quote: double a quote that belongs to the text";
    check_report("A1,\"a\"b,,,Open", &[&format!("2,Where,ab,{quote},refused")]);
}

#[test]
fn a_long_cell_is_a_refused_row() {
    let read =
        read(&format!("A1,{},,,Open\nA2,{},,,Open\nA3,,,,Open\n", "x".repeat(1 << 21), "y".repeat(501)));
    assert_eq!((read.counts.refused, read.rows.len(), read.rows[0].line), (2, 1, 4));
    assert!(read.report[0].ends_with("…,the cell is longer than 1 MiB,refused"), "{:?}", read.report);
    assert!(read.report[1].ends_with("…,is longer than 500 characters,refused"), "{:?}", read.report);
}

#[test]
fn damaged_bytes_refuse_their_row_alone() {
    let mut bytes = format!("{HEADER}A1,Peña Peña,,,Open\nA2,Pe").into_bytes();
    bytes.extend(b"\xF1a,,,Open\nA3,,,,Open\n");
    let read = try_read(&bytes, MAPPING).unwrap();
    assert_eq!(
        read.report,
        ["3,Where,Pe\u{fffd}a,the cell has bytes that the file's encoding does not,refused"]
    );
    assert_eq!(read.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn lines_are_those_of_the_file() {
    let read = read("A1,\"1 Main St\nUnit 2\",,,Open\n\n\nA2,,,x,Open\r\nA3,,,,Open");
    assert_eq!(read.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(read.rows[0].address.as_deref(), Some("1 Main St Unit 2"));
    assert!(read.report[0].starts_with("6,Cost,x,"), "{:?}", read.report);
}

#[test]
fn the_last_valid_row_of_a_key_holds() {
    let read = read(
        "A1,,,1,Open\nA2,,,1,Open\nA1,,,1.00,Open\nA1,,,2,Open\nA2,,,x,Open\nA1,,,1,Open\nA 1,,,1,Open\nA1,,,1,Open",
    );
    let expected = Counts { rows: 8, keys: 3, updated: 2, duplicates: 2, refused: 1 };
    assert_eq!(read.counts, expected);
    assert_eq!(
        read.rows.iter().map(|row| (row.line, row.key.as_str())).collect::<Vec<_>>(),
        [(3, "A2"), (7, "A1"), (8, "A 1")]
    );
    assert_eq!(
        read.report,
        [
            "4,,A1,says the same as line 2 in every mapped column,duplicate",
            "5,,A1,replaces line 2,updated",
            "6,Cost,x,\"is not an amount written as `1,234.50` (the mapping's `decimal`)\",refused",
            "7,,A1,replaces line 5,updated",
            "9,,A1,says the same as line 7 in every mapped column,duplicate",
        ]
    );
}

#[test]
fn content_is_the_parsed_values_of_the_mapped_columns() {
    let hash = |row: &str| read(row).rows[0].content_hash;
    let same = hash("A1,1 Main St,01/03/1984,20000,Open");
    assert_eq!(same, hash("A1, 1  Main St ,1/3/1984,\"$20,000.00\",Open"));
    for other in
        ["1 Main Rd,01/03/1984,20000,Open", "1 Main St,01/04/1984,20000,Open", "1 Main St,,20000,Open"]
    {
        assert_ne!(same, hash(&format!("A1,{other}")));
    }
    let (header, row) = ("note,Permit,Where,Issued,Cost,State", "x,A1,1 Main St,01/03/1984,20000,Open");
    assert_eq!(same, try_read(format!("{header}\n{row}").as_bytes(), MAPPING).unwrap().rows[0].content_hash);
    let stored: String = same.iter().map(|byte| format!("{byte:02x}")).collect();
    // Hashes are stored: another definition of content would write every project again.
    assert_eq!(stored, "087e4ac49d3b05d590ef6db03ee23edeef2ab580fc9e20fc14da4a5301dbd8cb");
}

#[test]
fn a_key_of_several_columns_tells_rows_apart() {
    let mapping = MAPPING.replace("key = [\"Permit\"]", "key = [\"Permit\", \"Where\"]");
    let text = format!("{HEADER}A1,x,,,Open\nA1,y,,,Open\nA1,x,,5,Open\n");
    let read = try_read(text.as_bytes(), &mapping).unwrap();
    assert_eq!(read.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["A1|y", "A1|x"]);
}

#[test]
fn semicolons_and_decimal_commas() {
    let mapping =
        MAPPING.replace("currency = \"USD\"", "currency = \"EUR\"\ndelimiter = \";\"\ndecimal = \",\"");
    let text = format!("{HEADER}A1,Haus 1,2,01/03/1984,EUR 1.234,50,Open\n").replace(',', ";");
    let text = text.replace("Haus 1;2", "Haus 1,2").replace("1.234;50", "1.234,50");
    let read = try_read(text.as_bytes(), &mapping).unwrap();
    assert_eq!(read.rows[0].valuation.unwrap().to_string(), "1234.5");
    assert_eq!(read.rows[0].address.as_deref(), Some("Haus 1,2"));
    assert_eq!(refusal(text.as_bytes()), "separates its cells with `;`: set `delimiter` in a --mapping file");
}

#[test]
fn what_is_no_permit_file_says_what_to_do() {
    assert_eq!(refusal(b""), "is empty: give a CSV file with a header and rows");
    assert_eq!(refusal(HEADER.as_bytes()), "has a header and no rows: export it again with its rows");
    let open = format!("{HEADER}A1,\"1 Main St,,,Open\nA2,,,,Open\n");
    assert_eq!(refusal(open.as_bytes()), "opens a quote on line 2 that is never closed: close it");
    assert_eq!(
        refusal(b"\x01\x02\n"),
        "is not text: give a CSV file in UTF-8, Windows-1252, or UTF-16 with a byte order mark"
    );
    let lacking = refusal(b"permit,Where,Issued,Value,State\n1,,,,\n");
    assert!(
        lacking.starts_with("lacks the columns `Permit` (is it `permit`?), `Cost`, which the mapping"),
        "{lacking}"
    );
    assert!(
        lacking.ends_with("the file's columns are `permit`, `Where`, `Issued`, `Value`, `State`"),
        "{lacking}"
    );
}

#[test]
fn a_file_that_changes_between_the_passes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("permits.csv");
    let survey = || {
        std::fs::write(&path, format!("{HEADER}A1,,,,Open\nA2,,,,Open\n")).unwrap();
        let mapping = Mapping::parse("messy", MAPPING).unwrap();
        Survey::run(&path, Some(mapping), &mut Report::beside(&path).unwrap(), &Progress::hidden()).unwrap()
    };
    let before = survey();
    std::fs::write(&path, format!("{HEADER}A1,,,,Open\n")).unwrap();
    assert!(before.rows().unwrap_err().to_string().contains("changed while it was imported"));
    let before = survey();
    let rows = before.rows().unwrap();
    std::fs::write(&path, format!("{HEADER}A1,,,x,Open\n")).unwrap();
    let read: Result<Vec<_>, _> = rows.collect();
    assert!(read.unwrap_err().to_string().contains("changed while it was imported"));
}

/// Whatever the bytes, reading ends, and counts add up.
#[test]
fn no_bytes_make_it_panic() {
    let text =
        format!("{HEADER}A1,\"1 \"\"x\"\" é\nSt\",01/03/1984,\"$1,000\",Open\r\nA2,,441936000000,5,Done\n");
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        for with in [0, b'"', b',', b'\n', b'\r', 0x80, 0xC3, 0xFF] {
            let mut changed = bytes.to_vec();
            changed[at] = with;
            drop(try_read(&changed, MAPPING));
        }
        drop(try_read(&bytes[..at], MAPPING));
    }
}
