//! Three cities' permit files, read whole. The expected numbers were counted from the files by
//! another program; where the files are absent, there is nothing to test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use formwork_service::import::{Counts, Mapping, PermitRow, Progress, Report, Survey};

struct City {
    survey: Survey,
    rows: Vec<PermitRow>,
    /// The report below its header.
    report: Vec<String>,
}

/// Reads a file of `shared/data`, with the built-in mapping that its columns choose.
fn read(file: &str) -> Option<City> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(file);
    if !path.exists() {
        eprintln!("{} is absent: not tested", path.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::at(folder.path().join("report.csv")).unwrap();
    let survey = Survey::run(&path, None, &mut report, &Progress::hidden()).unwrap();
    let rows: Vec<_> = survey.rows().unwrap().collect::<Result<_, _>>().unwrap();
    let text = std::fs::read_to_string(report.path()).unwrap_or_default();
    let report = text.lines().skip(1).map(str::to_owned).collect();
    assert!(rows.is_sorted_by_key(|row: &PermitRow| row.line), "rows come in file order");
    Some(City { survey, rows, report })
}

impl City {
    fn stages(&self) -> Vec<(&'static str, usize)> {
        let mut stages = BTreeMap::new();
        for row in &self.rows {
            *stages.entry(row.stage).or_default() += 1;
        }
        stages.into_iter().map(|(stage, count)| (stage.as_str(), count)).collect()
    }

    fn check(&self, mapping: &str, counts: Counts, stages: &[(&str, usize)], valuation: &str) {
        assert_eq!(self.survey.mapping().name(), mapping);
        assert_eq!(self.survey.encoding(), "UTF-8");
        assert_eq!(self.survey.counts(), counts);
        assert_eq!(self.rows.len() as u64, counts.keys);
        assert_eq!(self.report.len() as u64, counts.updated + counts.duplicates + counts.refused);
        assert_eq!(self.stages(), stages);
        let sum: rust_decimal::Decimal = self.rows.iter().filter_map(|row| row.valuation).sum();
        assert_eq!(sum.to_string(), valuation);
    }

    fn permit(&self, key: &str) -> &PermitRow {
        self.rows.iter().find(|row| row.key == key).unwrap()
    }
}

/// Of its 1,756 repeats most name another owner of the property, the rest nothing new.
#[test]
fn austin() {
    let Some(city) = read("austin-permits-1984.csv") else { return };
    let counts = Counts { rows: 72_455, keys: 70_699, updated: 1_350, duplicates: 406, refused: 0 };
    let stages =
        [("pre_construction", 2), ("course_of_construction", 8), ("completed", 59_452), ("canceled", 11_237)];
    city.check("austin", counts, &stages, "5492749747.42");
    let told = |outcome: &str| city.report.iter().filter(|line| line.ends_with(outcome)).count();
    assert_eq!((told(",updated"), told(",duplicate")), (1_350, 406));

    let first = city.permit("1984-009030 BP");
    assert_eq!((first.line, first.address.as_deref()), (2, Some("11400 Burnet Road A 31514")));
    assert_eq!(first.issued_on.map(|day| day.to_string()).as_deref(), Some("1984-01-03"));
    assert_eq!(city.permit("1984-011753 EP").line, 46_484, "the last of ten, each of another owner");
    let no_status = city.permit("1984-008449 BP");
    assert_eq!((no_status.status_raw.as_str(), no_status.stage.as_str()), ("", "course_of_construction"));
}

/// What is left of the repeats is what writing every row in turn would leave.
#[test]
fn austin_keeps_the_last_row_of_each_number() {
    let Some(city) = read("austin-permits-1984.csv") else { return };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = path.join("../../shared/data/austin-permits-1984.csv");
    let mut last = BTreeMap::new();
    for record in csv::Reader::from_path(&file).unwrap().records() {
        let record = record.unwrap();
        last.insert(record[0].trim().to_owned(), record[17].split_whitespace().collect::<Vec<_>>().join(" "));
    }
    for row in &city.rows {
        assert_eq!(row.owner.as_deref().unwrap_or_default(), last[&row.key], "{}", row.key);
    }
}

/// A column that the mapping does not name makes no difference.
#[test]
fn austin_without_owners() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = path.join("../../shared/data/austin-permits-1984.csv");
    if !file.exists() {
        eprintln!("{} is absent: not tested", file.display());
        return;
    }
    let text = std::fs::read_to_string(path.join("mappings/austin.toml")).unwrap();
    let mapping = Mapping::parse("plain", &text.replace("owner = \"property_owner\"\n", "")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::at(folder.path().join("report.csv")).unwrap();
    let survey = Survey::run(&file, Some(mapping), &mut report, &Progress::hidden()).unwrap();
    let counts = Counts { rows: 72_455, keys: 70_699, updated: 0, duplicates: 1_756, refused: 0 };
    assert_eq!(survey.counts(), counts);
}

#[test]
fn burlington() {
    let Some(city) = read("burlington-on-building-permits-bom.csv") else { return };
    let counts = Counts { rows: 5_026, keys: 5_026, updated: 0, duplicates: 0, refused: 0 };
    let stages = [("course_of_construction", 1_566), ("completed", 3_460)];
    city.check("burlington", counts, &stages, "1620777007.839");
    let (first, second) = (city.permit("1"), city.permit("2"));
    assert_eq!(first.number, second.number);
    assert_eq!(first.applied_on.map(|day| day.to_string()).as_deref(), Some("2024-10-03"));
    assert_eq!(second.applied_on.map(|day| day.to_string()).as_deref(), Some("2025-07-15"));
    assert_eq!(first.address.as_deref(), Some("1268 ABBEY CRT."));
}

#[test]
fn calgary() {
    let Some(city) = read("calgary-building-permits.csv") else { return };
    let counts = Counts { rows: 5_000, keys: 5_000, updated: 0, duplicates: 0, refused: 0 };
    let stages = [
        ("pre_construction", 67),
        ("course_of_construction", 494),
        ("completed", 4_168),
        ("not_awarded", 14),
        ("canceled", 257),
    ];
    city.check("calgary", counts, &stages, "1834639299.83");
    let first = city.permit("BP2013-09623");
    assert_eq!(first.completed_on.map(|day| day.to_string()).as_deref(), Some("2014-01-31"));
    assert_eq!(first.valuation.map(|amount| amount.to_string()).as_deref(), Some("246089.8"));
    assert_eq!(first.contractor.as_deref(), Some("VANITY HOMES"));
    assert_eq!(city.rows.iter().filter(|row| row.contractor.is_none()).count(), 1_845);
}
