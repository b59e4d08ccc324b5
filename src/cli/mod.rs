//! One file and one Args struct a verb.
