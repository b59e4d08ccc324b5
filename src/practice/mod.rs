//! A practice web on loopback, behind real kinds of limiters.
