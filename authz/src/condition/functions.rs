//! What conditions can call beside CEL's own: addresses and subtrees.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{ExecutionError, FunctionContext, Value};

/// An `ipaddress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) IpAddr);

impl Opaque for Address {
    fn runtime_type_name(&self) -> &str {
        "ipaddress"
    }
}

static ENVIRONMENT: LazyLock<Arc<cel::Env>> = LazyLock::new(|| Arc::new(cel::Env::stdlib()));

/// CEL's standard environment; it has no state.
pub(super) fn environment() -> Arc<cel::Env> {
    Arc::clone(&ENVIRONMENT)
}

pub(super) fn add_to(context: &mut cel::Context<'_, '_>) {
    // These names are not CEL's own, which is the only way in which adding can fail.
    let _ = context.add_function("ipaddress", ipaddress);
    let _ = context.add_function("in_cidr", in_cidr);
    let _ = context.add_function("isSubtreeOf", is_subtree_of);
}

pub(super) fn address(text: &str) -> Option<Value> {
    text.parse().ok().map(|ip| Value::Opaque(Arc::new(Address(ip))))
}

fn ipaddress(ftx: &FunctionContext<'_, '_>, text: Arc<String>) -> Result<Value, ExecutionError> {
    address(&text).ok_or_else(|| ftx.error("the text is not an ip address"))
}

fn in_cidr(
    ftx: &FunctionContext<'_, '_>,
    This(this): This<Value>,
    range: Arc<String>,
) -> Result<bool, ExecutionError> {
    let Value::Opaque(opaque) = &this else { return Err(ftx.error("it is a method of an ip address")) };
    let Some(&Address(ip)) = opaque.downcast_ref::<Address>() else {
        return Err(ftx.error("it is a method of an ip address"));
    };
    within(ip, &range).ok_or_else(|| ftx.error("the text is not a range of ip addresses"))
}

/// Whether an address lies in a range like `10.0.0.0/8`; `None` when it is not a range.
fn within(ip: IpAddr, range: &str) -> Option<bool> {
    let (net, bits) = range.split_once('/')?;
    let (net, bits): (IpAddr, u32) = (net.parse().ok()?, bits.parse().ok()?);
    let (width, net) = match net {
        IpAddr::V4(net) => (32, u128::from(net.to_bits())),
        IpAddr::V6(net) => (128, net.to_bits()),
    };
    if bits > width {
        return None;
    }
    // An IPv4 address in the form of an IPv6 one is the same address.
    let ip = match (ip.to_canonical(), width) {
        (IpAddr::V4(ip), 32) => u128::from(ip.to_bits()),
        (IpAddr::V6(ip), 128) => ip.to_bits(),
        _ => return Some(false),
    };
    Some(bits == 0 || (ip ^ net) >> (width - bits) == 0)
}

fn is_subtree_of(
    ftx: &FunctionContext<'_, '_>,
    This(this): This<Value>,
    whole: Value,
) -> Result<bool, ExecutionError> {
    match (&this, &whole) {
        (Value::Map(_), Value::Map(_)) => Ok(is_part(&this, &whole)),
        _ => Err(ftx.error("it compares two maps")),
    }
}

/// Values come from contexts, which are bounded in depth.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Map(part), Value::Map(whole)) => {
            part.map.iter().all(|(key, value)| whole.map.get(key).is_some_and(|other| is_part(value, other)))
        }
        _ => part == whole,
    }
}
