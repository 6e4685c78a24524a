//! The format of data objects: data blocks, an index block, a footer.
