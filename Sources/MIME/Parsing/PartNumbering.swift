/// Counts parts as IMAP does (RFC 3501 §6.4.5) while their events come.
package struct PartNumbering: Sendable {
    private struct Open {
        let path: [Int]
        let isMessage: Bool
        var isMultipart = false
        var children = 0
    }

    private var stack: [Open] = []

    package var depth: Int { stack.count }

    /// The number of the part that is open; of a message, nil.
    package var number: String? { stack.last.flatMap { $0.isMessage ? nil : Self.text($0.path) } }

    /// The number of the part whose body comes; a message that is one part has its body as part 1.
    package var bodyNumber: String { stack.last.map { Self.text($0.isMessage ? $0.path + [1] : $0.path) } ?? "" }

    package init() {}

    package mutating func take(_ event: MessageEvent) {
        switch event {
        case .partBegin(_, let isMessage):
            guard let last = stack.indices.last else {
                stack.append(Open(path: [], isMessage: true))
                return
            }
            stack[last].children += 1
            let path = stack[last].path
            if isMessage {
                stack.append(Open(path: stack[last].isMessage ? path + [1] : path, isMessage: true))
            } else {
                stack.append(Open(path: path + [stack[last].children], isMessage: false))
            }
        case .partEnd: _ = stack.popLast()
        case .field, .headerEnd, .body, .outside: break
        }
    }

    private static func text(_ path: [Int]) -> String { path.map(String.init).joined(separator: ".") }
}
