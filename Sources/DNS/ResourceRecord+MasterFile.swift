extension ResourceRecord {
    /// The record as a line of a master file that gives this very record again when it's read: data that its type's
    /// presentation form can't carry is written as RFC 3597 §5 says.
    package var masterFileLine: String {
        guard !Self.alwaysReadable.contains(type), !isReadable else { return description }
        let digits = String(decoding: RadixCoding.hexadecimal.encode(data), as: UTF8.self)
        return "\(name)\t\(timeToLive)\t\(`class`)\t\(type)\t\\# \(data.count) \(digits)"
    }

    /// Types whose data any reader gets back as it was.
    private static let alwaysReadable: Set<RecordType> = [.a, .aaaa, .ns, .cname, .dname, .ptr, .mx, .txt, .srv]

    private var isReadable: Bool {
        let line = Array(". 0 IN \(type) \(presentationData)".utf8)
        let read = try? MasterFile.parse(line, file: "", origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: "there is no other file"))
        }
        return read?.count == 1 && read?.first?.record.data == data
    }
}
