/// Edits `etc/aliases`. Comments, the order of lines, and aliases that the edit doesn't touch stay as they are.
package struct AliasFileEditor {
    private let table: TableFile

    package init(file: String) { table = TableFile(file) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case name(String)
        case target(String)
        case exists(String)
        case missing(String)
        case unreadable(TableError)
        /// It can't stand in the table.
        case unwritable(String)
        case system(String)

        package var description: String {
            switch self {
            case .name(let name): "\"\(name)\" is no name of an alias: a local part, an address or @domain"
            case .target(let reason): reason
            case .exists(let text): "\(text) already"
            case .missing(let text): text
            case .unreadable(let error): error.description
            case .unwritable(let name): "\(name) cannot be written into the table"
            case .system(let reason): reason
            }
        }
    }

    /// Has an alias lead to addresses, beside those that it leads to already.
    package func add(_ targets: [String], to name: String) throws(Fault) -> AliasTable.Entry {
        for target in targets {
            if let reason = AliasTable.fault(ofTarget: target) { throw .target(reason) }
        }
        let entry = try edit(name) { lines, entry throws(Fault) in
            guard let entry else {
                lines.append(Array("\(name): \(targets.joined(separator: ", "))".utf8))
                return targets
            }
            for target in targets where entry.targets.contains(target) {
                throw .exists("\(entry.name) leads to \(target)")
            }
            let last = Self.lines(of: entry, in: lines).last ?? entry.line - 1
            let end = lines[last].lastIndex { ![0x20, 0x09, 0x0d].contains($0) } ?? 0
            lines[last].replaceSubrange((end + 1)..., with: Array(", \(targets.joined(separator: ", "))".utf8))
            return entry.targets + targets
        }
        guard let entry else { throw .unwritable(name) }
        return entry
    }

    /// Removes addresses from an alias, and the alias with the last one.
    ///
    /// - Parameter targets: none for the alias as a whole.
    /// - Returns: what is left; nil for nothing.
    package func remove(_ targets: [String], from name: String) throws(Fault) -> AliasTable.Entry? {
        try edit(name) { lines, entry throws(Fault) in
            guard let entry else { throw .missing("there is no alias \(name)") }
            for target in targets where !entry.targets.contains(target) {
                throw .missing("\(entry.name) does not lead to \(target)")
            }
            let left = targets.isEmpty ? [] : entry.targets.filter { !targets.contains($0) }
            var places = Self.lines(of: entry, in: lines)
            if !left.isEmpty {
                let first = places.removeFirst()
                lines[first] = Array("\(entry.name): \(left.joined(separator: ", "))".utf8)
            }
            for place in places.reversed() { lines.remove(at: place) }
            return left
        }
    }

    /// All aliases, in the order of their lines.
    package func aliases() throws(Fault) -> [AliasTable.Entry] {
        let octets: [UInt8]
        do throws(TableFile.Fault) { octets = try table.read() } catch { throw .system(error.description) }
        return try parsed(octets).all
    }

    /// The alias of that name.
    package func alias(_ name: String) throws(Fault) -> AliasTable.Entry {
        guard let key = AliasTable.key(of: name) else { throw .name(name) }
        guard let entry = try aliases().first(where: { $0.name == key }) else {
            throw .missing("there is no alias \(name)")
        }
        return entry
    }

    /// The places of an alias's own lines: the first, and those that go on with it. Comments between them are none.
    private static func lines(of entry: AliasTable.Entry, in lines: [[UInt8]]) -> [Int] {
        var places = [entry.line - 1]
        for place in lines.indices.dropFirst(entry.line) {
            let line = lines[place]
            if line.allSatisfy({ [0x20, 0x09, 0x0d].contains($0) }) || line.first == UInt8(ascii: "#") { continue }
            guard line.first == 0x20 || line.first == 0x09 else { break }
            places.append(place)
        }
        return places
    }

    /// A change of the file's lines, which it gets with the alias as it is. It says what the alias must lead to afterwards.
    private typealias Change = (inout [[UInt8]], AliasTable.Entry?) throws(Fault) -> [String]

    private func edit(_ name: String, _ change: Change) throws(Fault) -> AliasTable.Entry? {
        guard let key = AliasTable.key(of: name) else { throw .name(name) }
        var result: AliasTable.Entry?
        try table.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            let targets = try change(&lines, try parsed(octets)[key])
            guard let fresh = try? parsed(TableFile.joined(lines)), fresh[key]?.targets ?? [] == targets else {
                throw .unwritable(name)
            }
            result = fresh[key]
        }
        return result
    }

    private func parsed(_ octets: [UInt8]) throws(Fault) -> AliasTable {
        do {
            return try AliasTable(text: String(decoding: octets, as: UTF8.self), file: table.path)
        } catch {
            throw .unreadable(error)
        }
    }
}
