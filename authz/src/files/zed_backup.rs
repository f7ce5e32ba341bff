//! Backups of SpiceDB's `zed`: an Avro object container with a schema and its relationships.
//!
//! The container is read by its own description (Apache Avro specification, "Object Container Files"), so a backup with
//! fewer fields, as older versions wrote it, is read as well. A block whose checksum is wrong is an error: a part of a
//! backup is none.

use chrono::DateTime;
use serde_json::{Map, Number, Value};

use crate::files::fault::{Fault, FileError};
use crate::relationship::Relationship;

const MAGIC: &[u8; 4] = b"Obj\x01";
/// One block unpacked, in bytes.
const MAX_BLOCK: usize = 1 << 28;
/// Values in values of a context.
const MAX_DEPTH: usize = 64;

/// Reads a backup: the text of the schema, and the relationships.
///
/// # Errors
///
/// [`FileError`] when it is no backup, or not whole.
pub fn read_zed_backup(name: &str, bytes: &[u8]) -> Result<(String, Vec<Relationship>), FileError> {
    let read = backup(bytes);
    read.map_err(|message| {
        let help = "write one with `zed backup create`, or give what `zed backup parse-schema` and `zed backup \
                    parse-relationships` print";
        Fault::on(name, "", 0, 1, message).with_help(help).into()
    })
}

fn backup(bytes: &[u8]) -> Result<(String, Vec<Relationship>), String> {
    let mut input = Input(bytes);
    if input.take(4)? != MAGIC {
        return Err("this is no Avro object container".to_owned());
    }
    let meta = metadata(&mut input)?;
    let entry = |key: &str| meta.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
    let is_snappy = match entry("avro.codec") {
        None | Some(b"null") => false,
        Some(b"snappy") => true,
        Some(other) => return Err(format!("the codec `{}` is not known", String::from_utf8_lossy(other))),
    };
    let described = entry("avro.schema").and_then(|json| serde_json::from_slice::<Value>(json).ok());
    let records = records(&described.ok_or("the container does not describe its records")?)?;
    let sync = input.take(16)?.to_vec();
    let (mut schema, mut relationships) = (None, Vec::new());
    while !input.0.is_empty() {
        let count = input.length()?;
        let length = input.length()?;
        let packed = input.take(length)?;
        let block = if is_snappy { unpack(packed)? } else { packed.to_vec() };
        let mut block = Input(&block);
        for _ in 0..count {
            record(&mut block, &records, &mut schema, &mut relationships)?;
        }
        if input.take(16)? != sync {
            return Err("the container is broken: a block does not end where it should".to_owned());
        }
    }
    Ok((schema.ok_or("the backup has no schema")?, relationships))
}

/// What has not been read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("the file ends in the middle")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1)?.first().copied().ok_or_else(|| "the file ends in the middle".to_owned())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    /// As Avro writes numbers: the small ones of both signs short.
    fn long(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn length(&mut self) -> Result<usize, String> {
        usize::try_from(self.long()?).map_err(|_| "a length is negative".to_owned())
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.length()?;
        self.take(length)
    }
}

type Metadata<'a> = Vec<(String, &'a [u8])>;

fn metadata<'a>(input: &mut Input<'a>) -> Result<Metadata<'a>, String> {
    let mut found = Vec::new();
    loop {
        let mut count = input.long()?;
        if count == 0 {
            return Ok(found);
        }
        if count < 0 {
            count = -count;
            input.long()?;
        }
        for _ in 0..count {
            let key = String::from_utf8_lossy(input.bytes()?).into_owned();
            found.push((key, input.bytes()?));
        }
    }
}

/// A kind of record: its name, and its fields with what they are.
struct Record {
    name: String,
    fields: Vec<(String, Field)>,
}

#[derive(Clone, Copy)]
enum Field {
    Bytes,
    Long,
}

fn records(described: &Value) -> Result<Vec<Record>, String> {
    let list = described.as_array().map_or(std::slice::from_ref(described), Vec::as_slice);
    list.iter()
        .map(|record| -> Result<Record, String> {
            let name = record.get("name").and_then(Value::as_str).unwrap_or_default();
            let fields = record.get("fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let fields = fields.iter().map(|field| {
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                let kind =
                    field.get("type").map(|kind| kind.get("type").unwrap_or(kind)).and_then(Value::as_str);
                match kind {
                    Some("string" | "bytes") => Ok((name.to_owned(), Field::Bytes)),
                    Some("long" | "int") => Ok((name.to_owned(), Field::Long)),
                    _ => Err(format!("the field `{name}` is of a kind that is not known")),
                }
            });
            Ok(Record {
                name: name.rsplit('.').next().unwrap_or(name).to_owned(),
                fields: fields.collect::<Result<_, String>>()?,
            })
        })
        .collect()
}

fn record(
    block: &mut Input<'_>,
    records: &[Record],
    schema: &mut Option<String>,
    relationships: &mut Vec<Relationship>,
) -> Result<(), String> {
    let which = block.length()?;
    let record = records.get(which).ok_or("a record is of a kind that is not described")?;
    let (mut texts, mut expiration): (Vec<(&str, &[u8])>, Option<i64>) = (Vec::new(), None);
    for (name, field) in &record.fields {
        match field {
            Field::Bytes => texts.push((name, block.bytes()?)),
            Field::Long => expiration = Some(block.long()?).filter(|_| name == "expiration"),
        }
    }
    let bytes =
        |name: &str| texts.iter().find(|(field, _)| *field == name).map_or(&[][..], |(_, bytes)| *bytes);
    let text = |name: &str| String::from_utf8_lossy(bytes(name)).into_owned();
    match record.name.as_str() {
        "schema_v1" => *schema = Some(text("schema_text")),
        "relationship_v1" => {
            let mut plain = format!(
                "{}:{}#{}@{}:{}",
                text("object_type"),
                text("object_id"),
                text("relation"),
                text("subject_object_type"),
                text("subject_object_id")
            );
            if !bytes("subject_relation").is_empty() {
                plain.push_str(&format!("#{}", text("subject_relation")));
            }
            let mut fact: Relationship = plain.parse().map_err(|error| format!("{error}"))?;
            if !bytes("caveat_name").is_empty() {
                let context = structure(&mut Input(bytes("caveat_context")), 0)?;
                fact = fact.with_condition(text("caveat_name"), context);
            }
            // A time before 1970 is Go's "none".
            let expires = expiration.filter(|millis| *millis > 0).and_then(DateTime::from_timestamp_millis);
            relationships.push(match expires {
                Some(time) => fact.expiring_at(time),
                None => fact,
            });
        }
        other => return Err(format!("a record is `{other}`, which is not known")),
    }
    Ok(())
}

/// A protobuf `google.protobuf.Struct`.
fn structure(input: &mut Input<'_>, depth: usize) -> Result<Map<String, Value>, String> {
    let mut map = Map::new();
    while !input.0.is_empty() {
        input.varint()?;
        let mut entry = Input(delimited(input)?);
        let (mut key, mut value) = (String::new(), Value::Null);
        while !entry.0.is_empty() {
            match entry.varint()? >> 3 {
                1 => key = String::from_utf8_lossy(delimited(&mut entry)?).into_owned(),
                _ => value = json(&mut Input(delimited(&mut entry)?), depth + 1)?,
            }
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// A protobuf `google.protobuf.Value`.
fn json(input: &mut Input<'_>, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err("a context has too many values in each other".to_owned());
    }
    let mut value = Value::Null;
    while !input.0.is_empty() {
        value = match input.varint()? >> 3 {
            1 => {
                input.varint()?;
                Value::Null
            }
            2 => {
                let bytes = input.take(8)?.try_into().map_err(|_| "a number is cut")?;
                number(f64::from_le_bytes(bytes))
            }
            3 => Value::String(String::from_utf8_lossy(delimited(input)?).into_owned()),
            4 => Value::Bool(input.varint()? != 0),
            5 => Value::Object(structure(&mut Input(delimited(input)?), depth + 1)?),
            6 => {
                let (mut items, mut list) = (Vec::new(), Input(delimited(input)?));
                while !list.0.is_empty() {
                    list.varint()?;
                    items.push(json(&mut Input(delimited(&mut list)?), depth + 1)?);
                }
                Value::Array(items)
            }
            other => return Err(format!("a context has a value of the unknown kind {other}")),
        };
    }
    Ok(value)
}

/// All numbers are doubles there; a whole one is written as one.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn delimited<'a>(input: &mut Input<'a>) -> Result<&'a [u8], String> {
    let length = usize::try_from(input.varint()?).map_err(|_| "a length is too large")?;
    input.take(length)
}

/// Snappy's raw format, and the checksum that Avro puts behind it.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (packed, sum) = packed.split_last_chunk::<4>().ok_or("a block is too short")?;
    let mut input = Input(packed);
    let length = usize::try_from(input.varint()?).ok().filter(|length| *length <= MAX_BLOCK);
    let length = length.ok_or("a block is too large")?;
    let mut out: Vec<u8> = Vec::with_capacity(length);
    while !input.0.is_empty() {
        let tag = input.byte()?;
        let high = usize::from(tag >> 2);
        if tag & 3 == 0 {
            let count = if high < 60 { high } else { little(input.take(high - 59)?) };
            out.extend_from_slice(input.take(count + 1)?);
            continue;
        }
        let (count, back) = match tag & 3 {
            1 => ((high & 7) + 4, (high >> 3) << 8 | usize::from(input.byte()?)),
            2 => (high + 1, little(input.take(2)?)),
            _ => (high + 1, little(input.take(4)?)),
        };
        let from =
            out.len().checked_sub(back).filter(|_| back > 0).ok_or("a block refers to before its start")?;
        if out.len() + count > length {
            return Err("a block is longer than it says".to_owned());
        }
        // The two may overlap: what has just been written is read again.
        for at in from..from + count {
            out.extend(out.get(at).copied());
        }
    }
    if out.len() != length || crc32(&out).to_be_bytes() != *sum {
        return Err("a block is broken: its checksum is another one".to_owned());
    }
    Ok(out)
}

fn little(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}
