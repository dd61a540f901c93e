import Files

/// A file or a directory of the simulated disk: what programs see of it, and what is on stable storage.
final class SimulatedInode {
    /// A disk writes so many octets whole or not at all.
    static let block = 512
    /// So many changes are kept apart; the oldest are then written, as a kernel does after some seconds.
    private static let maximumChanges = 512

    enum Change {
        case write(at: Int, [UInt8])
        case resize(to: Int)
    }

    let number: UInt64
    let kind: FileStatus.Kind
    var modified: SimulatedFileSystem.Time
    /// When anything about it was changed last.
    var changed: SimulatedFileSystem.Time
    /// Names of it that programs see.
    var links = 0
    var lockHolders: [SimulatedFileSystem.LockKind: Int32] = [:]

    // A file's.
    private(set) var content = SimulatedContent()
    private var durable = SimulatedContent()
    /// What was done to the durable content to make it the content.
    private var changes: [Change] = []
    /// A sync failed: the content has something that is neither durable nor among the changes.
    private var hasLostChanges = false

    // A directory's.
    var entries: [String: SimulatedInode] = [:]
    var durableEntries: [String: SimulatedInode] = [:]
    var isRemoved = false

    init(number: UInt64, kind: FileStatus.Kind, modified: SimulatedFileSystem.Time) {
        self.number = number
        self.kind = kind
        self.modified = modified
        changed = modified
    }

    var hasUnsynced: Bool { !changes.isEmpty }
    var durableSize: Int { durable.size }

    func write(_ octets: UnsafeRawBufferPointer, at offset: Int) {
        content.write(octets, at: offset)
        if hasLostChanges {
            // Whole blocks are written from what is in memory, with what a failed sync has lost of them.
            let begin = offset / Self.block * Self.block
            let end = min(content.size, (offset + octets.count + Self.block - 1) / Self.block * Self.block)
            add(.write(at: begin, content.octets(begin..<end)))
        } else {
            add(.write(at: offset, Array(octets)))
        }
    }

    func resize(to size: Int) {
        content.resize(to: size)
        add(.resize(to: size))
    }

    private func add(_ change: Change) {
        changes.append(change)
        guard changes.count > Self.maximumChanges else { return }
        for change in changes.prefix(Self.maximumChanges / 2) { Self.apply(change, to: &durable) }
        changes.removeFirst(Self.maximumChanges / 2)
    }

    private static func apply(_ change: Change, to content: inout SimulatedContent) {
        switch change {
        case .write(let offset, let octets): octets.withUnsafeBytes { content.write($0, at: offset) }
        case .resize(let size): content.resize(to: size)
        }
    }

    func sync() {
        guard !changes.isEmpty else { return }
        if hasLostChanges {
            for change in changes { Self.apply(change, to: &durable) }
        } else {
            durable = content
        }
        changes.removeAll(keepingCapacity: true)
    }

    /// A sync that failed: some of what was written is durable, and nobody will write the rest (as Linux has it: the pages
    /// are clean after the error). A size that was set is not in those pages but, like a name, in the file system's own
    /// records, which it writes with a later sync, or it stops altogether.
    func failSync(_ random: inout SeededGenerator) {
        guard !changes.isEmpty else { return }
        durable = survivor(&random)
        changes.removeAll { if case .write = $0 { true } else { false } }
        hasLostChanges = true
    }

    /// The power has gone: the content is what survived of it.
    func cutPower(_ random: inout SeededGenerator) {
        durable = survivor(&random)
        content = durable
        changes = []
        hasLostChanges = false
        links = 0
        lockHolders = [:]
        isRemoved = false
    }

    /// The durable content and, of the changes: none, all, the first of them with the last one torn, or for each block
    /// and for the size another state of those that it has had.
    private func survivor(_ random: inout SeededGenerator) -> SimulatedContent {
        guard !changes.isEmpty else { return durable }
        let kind = random.below(8)
        if kind < 2 { return durable }
        let last = kind < 4 ? changes.count : random.below(changes.count) + 1
        let isScattered = kind >= 6
        var result = durable
        var replayed = durable
        var size = durable.size
        let sizeState = kind < 4 ? last : isScattered ? random.below(changes.count + 1) : last - random.below(2)
        var states: [Int: Int] = [:]
        for (index, change) in changes.enumerated() {
            let before = replayed.size
            Self.apply(change, to: &replayed)
            if index < sizeState { size = replayed.size }
            let touched: Range<Int>
            switch change {
            case .write(let offset, let octets): touched = offset..<(offset + octets.count)
            case .resize(let size): touched = min(size, before)..<before
            }
            if touched.isEmpty { continue }
            for block in (touched.lowerBound / Self.block)...((touched.upperBound - 1) / Self.block) {
                let state: Int
                if let known = states[block] {
                    state = known
                } else {
                    state =
                        kind < 4 ? last : isScattered ? random.below(changes.count + 1) : last - random.below(2)
                    states[block] = state
                }
                guard index < state else { continue }
                let begin = block * Self.block
                replayed.octets(begin..<(begin + Self.block)).withUnsafeBytes { result.write($0, at: begin) }
            }
        }
        result.resize(to: size)
        return result
    }
}
