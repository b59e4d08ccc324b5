//! Where the others meet.
