//! `proxy` of `[http]` and of a `[[host]]`: how requests leave.

use crate::exchange::Secret;
use crate::fetch::{PROXY_SCHEMES, ProxyAddress};

use super::section::Field;

/// How requests leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// By `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment, as other programs do.
    Env,
    /// Directly, whatever the environment says.
    Direct,
    /// By one of these `http://`, `https://`, `socks5://` or `socks5h://` addresses, which may hold a password: the same one for
    /// all requests to a host, while it works. At least one.
    Via(Vec<Secret>),
}

/// `"env"`, `"none"`, an address or a list of them.
pub(super) fn read(field: &Field<'_>) -> Option<Proxy> {
    match field.value.as_str() {
        Some("env") => return Some(Proxy::Env),
        Some("none") => return Some(Proxy::Direct),
        _ => {}
    }
    let is_list = field.value.as_array();
    if is_list.is_some_and(|list| list.is_empty()) {
        field.complain("is an empty list; \"none\" is for no proxy");
        return None;
    }
    let parts = match is_list {
        Some(list) => list.iter().map(|value| field.part(value)).collect(),
        None => vec![field.clone()],
    };
    let all: Vec<Secret> = parts.iter().filter_map(read_address).collect();
    (all.len() == parts.len()).then_some(Proxy::Via(all))
}

fn read_address(part: &Field<'_>) -> Option<Secret> {
    let address = part.secret()?;
    let scheme = address.0.split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|scheme| PROXY_SCHEMES.contains(&scheme)) {
        part.complain(
            "must be \"env\", \"none\", or an http://, https://, socks5:// or socks5h:// address, or a list of such",
        );
        return None;
    }
    if ProxyAddress::parse(&address).is_err() {
        // Without the address, which may hold a password.
        part.complain("has an address without a host, or with a wrong port");
        return None;
    }
    Some(address)
}
