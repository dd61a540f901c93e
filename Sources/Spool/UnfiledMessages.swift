import DequeModule
import NIOConcurrencyHelpers
import NIOCore

/// Messages that the journal holds safely and that have no file yet, because most are delivered before they need one.
///
/// Any thread may call. What is asked of files is done by the publisher, which calls `beginFiling` and `filed`.
final class UnfiledMessages: Sendable {
    private struct Entry {
        let file: ByteBuffer
        /// Lines of its state file.
        var lines = ByteBuffer()
        /// Of the journal's segment that holds the message.
        let generation: UInt64
        /// When it came, in ticks.
        let tick: UInt64
        var isBeingFiled = false
    }

    private struct State {
        var entries: [MessageID: Entry] = [:]
        /// In the order they came; some have left.
        var order: Deque<MessageID> = []
        var octets = 0
        var tick: UInt64 = 0
    }

    /// What the publisher has to do for operations that have become durable.
    struct FileWork {
        /// On files that are there already, in order.
        var operations: [SpoolOperation] = []
        /// Messages that need their files now.
        var filing: [MessageID] = []

        var isEmpty: Bool { operations.isEmpty && filing.isEmpty }
    }

    private let state = NIOLockedValueBox(State())
    /// Octets that may stay in memory.
    private let share: Int

    init(share: Int) { self.share = share }

    var octets: Int { state.withLockedValue { $0.octets } }
    var isEmpty: Bool { state.withLockedValue { $0.entries.isEmpty } }
    /// Whether so much is held that who brings more has to wait.
    var isOverfull: Bool { octets > 2 * share }

    /// Takes note of durable operations, which are done with where they concern no file.
    func record(_ transactions: [SpoolTransaction], generation: UInt64) -> FileWork {
        state.withLockedValue { state in
            var work = FileWork()
            for transaction in transactions {
                for operation in transaction.operations { Self.record(operation, generation, &state, &work) }
            }
            if state.octets > share { work.filing += Self.oldest(of: &state, octets: state.octets - share / 4 * 3) }
            return work
        }
    }

    private static func record(
        _ operation: SpoolOperation,
        _ generation: UInt64,
        _ state: inout State,
        _ work: inout FileWork
    ) {
        switch operation {
        case .put(let id, let file):
            state.entries[id] = Entry(file: file, generation: generation, tick: state.tick)
            state.octets += file.readableBytes
            state.order.append(id)
            if state.order.count > 2 * state.entries.count + 1000 {
                state.order.removeAll { state.entries[$0] == nil }
            }
        case .state(let id, let lines), .note(let id, let lines):
            guard let isBeingFiled = state.entries[id]?.isBeingFiled else { return work.operations.append(operation) }
            // For readers too, until the file has them.
            state.entries[id]?.lines.writeImmutableBuffer(lines)
            if isBeingFiled {
                work.operations.append(operation)
            } else if case .note = operation {
                // It stays for a while.
                work.filing.append(id)
            }
        case .done(let id):
            guard let entry = state.entries.removeValue(forKey: id) else { return work.operations.append(operation) }
            state.octets -= entry.file.readableBytes
            if entry.isBeingFiled { work.operations.append(operation) }
        }
    }

    private static func oldest(of state: inout State, octets: Int) -> [MessageID] {
        var (ids, sum, index) = ([MessageID](), 0, 0)
        while sum < octets, index < state.order.count {
            let id = state.order[index]
            index += 1
            guard let entry = state.entries[id], !entry.isBeingFiled else { continue }
            ids.append(id)
            sum += entry.file.readableBytes
        }
        return ids
    }

    /// A second is over; returns the messages that have been here for so many.
    func tick(age: UInt64) -> [MessageID] {
        state.withLockedValue { state in
            state.tick += 1
            while let id = state.order.first, state.entries[id] == nil { state.order.removeFirst() }
            return state.order.prefix { id in
                guard let entry = state.entries[id] else { return true }
                return entry.tick + age <= state.tick
            }
            .filter { state.entries[$0]?.isBeingFiled == false }
        }
    }

    /// The messages that segments up to this one hold.
    func ids(upTo generation: UInt64) -> [MessageID] {
        state.withLockedValue { state in
            state.order.filter { id in state.entries[id].map { $0.generation <= generation } ?? false }
        }
    }

    /// A message's file as it will be, without its state.
    func file(of id: MessageID) -> ByteBuffer? { state.withLockedValue { $0.entries[id]?.file } }

    func lines(of id: MessageID) -> ByteBuffer? { state.withLockedValue { $0.entries[id]?.lines } }

    /// Gives out what the files of a message have in them. From now on lines go to the file; nil where it has left, or is
    /// being filed already.
    func beginFiling(_ id: MessageID) -> (file: ByteBuffer, lines: ByteBuffer)? {
        state.withLockedValue { state in
            guard let entry = state.entries[id], !entry.isBeingFiled else { return nil }
            state.entries[id]?.isBeingFiled = true
            return (entry.file, entry.lines)
        }
    }

    /// The files are there.
    func filed(_ id: MessageID) {
        state.withLockedValue { state in
            guard let entry = state.entries.removeValue(forKey: id) else { return }
            state.octets -= entry.file.readableBytes
        }
    }
}
