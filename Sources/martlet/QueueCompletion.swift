import ArgumentParser
import Bus
import Daemon

/// What shells offer for words of `martlet queue`: what is in the queue now. Nothing where that can't be seen.
enum QueueCompletion {
    /// Who looks for one of more has to write its beginning.
    private static let limit = 500

    static let ids = CompletionKind.custom { words, _, beginning in
        await offered(words, beginning, listed) { $0.all("id") }
    }

    static let senders = CompletionKind.custom { words, _, beginning in
        await offered(words, beginning, listed) { frame in
            // The path without brackets and parameters.
            let path = frame["sender"]?.split(separator: " ").first.map { $0.filter { $0 != "<" && $0 != ">" } }
            return [path, frame["user"]].compactMap { $0 }.filter { !$0.isEmpty }
        }
    }

    static let accounts = CompletionKind.custom { words, _, beginning in
        await offered(words, beginning, listed) { $0.all("user") }
    }

    static let destinations = CompletionKind.custom { words, _, beginning in
        await offered(words, beginning, Frame("STATISTICS")) { $0.verb == "DESTINATION" ? $0.all("name") : [] }
    }

    static let columns = CompletionKind.custom { _, _, beginning in
        // Behind the last comma.
        let done = beginning.lastIndex(of: ",").map { String(beginning[...$0]) } ?? ""
        return QueueColumn.allCases.map { done + $0.rawValue }
    }

    private static var listed: Frame {
        var request = Frame("LIST")
        request["limit"] = String(limit)
        return request
    }

    private static func offered(
        _ words: [String],
        _ beginning: String,
        _ request: Frame,
        _ values: @escaping @Sendable (Frame) -> [String]
    ) async -> [String] {
        let option = words.firstIndex(of: "--instance").map { words[$0...].prefix(2) } ?? []
        guard let instance = try? InstanceOptions.parse(option.count == 2 ? Array(option) : []) else { return [] }
        let found = try? await DaemonControl.with(instance, "queue-manager", "run/control.sock") { control in
            var found: Set<String> = []
            _ = try await control.ask(request) { found.formUnion(values($0)) }
            return found
        }
        // A name with blanks or control characters is nobody's to write here.
        return (found ?? []).filter { $0.hasPrefix(beginning) && $0.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } }
            .sorted()
    }
}
