/// Names that lead to other names by CNAME and DNAME records.
package enum AliasChain {
    /// How many aliases one answer may follow.
    package static let maximum = 16
}
