//! Several ids in one query of GraphQL, each under an alias of its own: `a0: node(id: "x") { .. } a1: node(id: "y") { .. }`.

use serde_json::Value;

use crate::job::Params;

use super::request::RenderError;
use super::template::Template;

/// How each of several ids is asked for in one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The field with its selection, with names in it that stand for the values of a slice.
    pub field: Template,
    /// The names in the other texts of the stream. Slices share a query when they have the same values for these.
    pub shared: Vec<String>,
}

impl Alias {
    /// The query of a stream that has none of its own.
    pub const QUERY: &'static str = "query { {ids} }";

    /// The fields of the slices with these values, in order.
    pub(super) fn fields(&self, slices: &[Value]) -> Result<String, RenderError> {
        let mut text = String::new();
        let none = Params::new();
        for (nth, params) in slices.iter().enumerate() {
            if nth > 0 {
                text.push(' ');
            }
            let field = self.field.render_graphql(params.as_object().unwrap_or(&none)).map_err(RenderError::NoValue)?;
            text.push_str(&Self::name(nth));
            text.push_str(": ");
            text.push_str(&field);
        }
        Ok(text)
    }

    /// The alias of the n-th slice, from 0.
    #[must_use]
    pub fn name(nth: usize) -> String {
        format!("a{nth}")
    }
}
