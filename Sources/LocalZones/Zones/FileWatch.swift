/// Tells when files are to be read again: they have changed, and nobody is writing them, since they look as they
/// did at the look before. Half of a zone must not be served, nor go to others under the serial that the whole will have.
struct FileWatch {
    /// Files by their names, as they looked at a time; nil for those that couldn't be reached.
    typealias Versions = [String: FileVersion?]

    /// As they were read; nil before that.
    private var known: Versions?
    /// As they looked last.
    private var seen: Versions?

    /// The files were read as they were then.
    mutating func note(_ versions: Versions) {
        known = versions
        seen = nil
    }

    /// Whether the files aren't as they were read. Blocks.
    ///
    /// - Parameter version: how a file is now.
    func hasChanged(_ version: (String) -> FileVersion?) -> Bool {
        known?.contains { name, before in version(name) != before } ?? true
    }

    /// Whether the files aren't as they were read, and have been as they are for a look at least. Blocks.
    ///
    /// - Parameter version: how a file is now.
    mutating func hasSettled(_ version: (String) -> FileVersion?) -> Bool {
        guard let known else { return true }
        let now = Versions(uniqueKeysWithValues: known.keys.map { ($0, version($0)) })
        defer { seen = now }
        return now != known && now == seen
    }
}
