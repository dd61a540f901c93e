import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// A disk in memory that knows what was synced, errs on demand, and loses on a power cut what a real one may lose.
///
/// - Strict: the sync of a file makes its content durable and not its name; the sync of a directory makes durable the
///   entries of that directory alone. A rename is durable when either of its directories was synced.
/// - What was not synced survives a power cut or doesn't: each 512 octets of a file in any state that they have had since
///   the last sync, its size likewise; operations on names in any subset in which none lacks an earlier one of the same
///   entry. Never half a rename.
/// - A sync that failed leaves what programs see. Of content that it should have written, any part may be durable, and a
///   later sync succeeds without writing the rest. Names, and sizes that files were cut to, are durable or not, and a later
///   sync writes them: file systems keep their own changes, or stop altogether.
///
/// A seed, the calls and the faults decide all that happens: one seed, one run, as long as one thread calls. Calls of
/// several threads are taken one by one.
package final class SimulatedFileSystem: FileSystem, @unchecked Sendable {
    // Unchecked: the lock guards all state.

    /// Seconds since 1970, and nanoseconds.
    package struct Time: Sendable, Hashable {
        package var seconds: Int64
        package var nanoseconds: Int64

        package init(seconds: Int64, nanoseconds: Int64 = 0) {
            self.seconds = seconds
            self.nanoseconds = nanoseconds
        }
    }

    enum LockKind: Hashable {
        case whole
        case records
    }

    struct OpenHandle {
        let inode: SimulatedInode
        let options: OpenOptions
        let path: String
        var position = 0
    }

    private static let nextDevice = NIOLockedValueBox<UInt64>(1 << 32)
    private static let rememberedCalls = 200
    /// So many operations on names are kept apart; the oldest are then written, as a kernel does after some seconds.
    private static let maximumOperations = 1024

    /// Runs when something was renamed, with its new path as it was given: what others do at that moment.
    package let renamed = NIOLockedValueBox<@Sendable (String) -> Void>({ _ in })
    /// Changes which names a directory is said to have: readdir may miss what is renamed meanwhile (POSIX).
    package let listed = NIOLockedValueBox<@Sendable (_ path: String, [[UInt8]]) -> [[UInt8]]>({ $1 })

    let guardian = NIOLock()
    let now: @Sendable () -> Time
    let device: UInt64
    var random: SeededGenerator
    let root: SimulatedInode
    var handles: [Int32: OpenHandle] = [:]
    var nextHandle: Int32 = 1000
    var spaceLeft = FileSpace(free: 1 << 40, total: 1 << 41, freeFiles: nil)
    private var nextInode: UInt64 = 2
    private var operations: [NameOperation] = []
    private var unsynced: [SimulatedInode] = []
    private var plan = FaultPlan()
    private var calls = 0
    private var isEnded = false
    private var recent: [SimulatedCall] = []
    private var oldest = 0

    /// - Parameter now: what the times of files are taken from; the same moment for ever where there is none.
    package init(seed: UInt64, now: @escaping @Sendable () -> Time = { Time(seconds: 1_800_000_000) }) {
        random = SeededGenerator(seed: seed)
        self.now = now
        device = Self.nextDevice.withLockedValue { next in
            next += 1
            return next
        }
        root = SimulatedInode(number: 1, kind: .directory, modified: now())
        root.links = 1
        recent.reserveCapacity(Self.rememberedCalls)
    }

    // MARK: What a test does to it

    /// What goes wrong from now on; calls are counted anew.
    package func start(_ plan: FaultPlan = FaultPlan()) {
        guardian.withLock {
            self.plan = plan
            calls = 0
        }
    }

    /// Calls since `start`.
    package var callCount: Int { guardian.withLock { calls } }

    /// Whether the plan has ended this life: every call fails.
    package var hasEnded: Bool { guardian.withLock { isEnded } }

    /// The same, for calls that hold the lock.
    var hasEndedLocked: Bool { isEnded }

    /// What `space` answers.
    package func setSpace(_ space: FileSpace) { guardian.withLock { spaceLeft = space } }

    /// The power goes and comes back: what was not synced is there or not, removed files are gone, and handles and
    /// locks of before are void. Then nothing goes wrong until `start`.
    package func powerCut() {
        guardian.withLock {
            endLife()
            operations.settle(survivingOperations())
            operations = []
            var files: [ObjectIdentifier: SimulatedInode] = [:]
            for inode in unsynced where files.updateValue(inode, forKey: ObjectIdentifier(inode)) == nil {
                inode.cutPower(&random)
            }
            unsynced = []
            reload(root, &files)
            root.links = 1
        }
    }

    /// All programs are killed: handles and locks are void, removed files are gone, and the rest is as programs
    /// saw it. Then nothing goes wrong until `start`.
    package func kill() { guardian.withLock { endLife() } }

    private func endLife() {
        for handle in handles.values { handle.inode.lockHolders = [:] }
        handles = [:]
        isEnded = false
        plan = FaultPlan()
        calls = 0
    }

    private func survivingOperations() -> [Bool] {
        switch random.below(8) {
        case 0, 1: return operations.map { _ in false }
        case 2, 3: return operations.map { _ in true }
        case 4, 5:
            // In the order in which they came, as a journal has them.
            let kept = random.below(operations.count + 1)
            return operations.indices.map { $0 < kept }
        default:
            let probability = [0.1, 0.5, 0.9][random.below(3)]
            var random = random
            defer { self.random = random }
            return operations.closure { _ in random.chance(probability) }
        }
    }

    /// Makes what is durable what programs see, from a directory downward.
    private func reload(_ directory: SimulatedInode, _ seen: inout [ObjectIdentifier: SimulatedInode]) {
        directory.entries = directory.durableEntries
        directory.isRemoved = false
        for inode in directory.entries.values {
            if seen.updateValue(inode, forKey: ObjectIdentifier(inode)) == nil {
                // Nothing of it was unsynced but, perhaps, what a failed sync has lost: no random numbers are needed.
                inode.cutPower(&random)
            }
            inode.links += 1
            if inode.kind == .directory { reload(inode, &seen) }
        }
    }

    /// The latest calls, the last one at the end, a line each.
    package var history: String {
        guardian.withLock { (recent[oldest...] + recent[..<oldest]).map { "\($0)\n" }.joined() }
    }

    // MARK: What all calls do

    /// Counts a call, and has it do its work unless the plan is against it.
    ///
    /// - Parameters:
    ///   - remains: what a call that the plan makes fail does all the same.
    func perform<Value>(
        _ call: SimulatedCall,
        remains: (() -> Void)? = nil,
        _ body: () throws(FileError) -> Value
    ) throws(FileError) -> Value {
        calls += 1
        var call = call
        call.number = calls
        defer { remember(call) }
        do throws(FileError) {
            if isEnded { throw error(EIO, call) }
            if calls == plan.endAt {
                isEnded = true
                // What was being done may have been done. A sync's work counts as not done, which says no more of it.
                if call.operation.isDisjoint(with: .syncs), random.flip() {
                    _ = try body()
                } else {
                    remains?()
                }
                throw error(EIO, call)
            }
            if let code = fault(call) {
                remains?()
                throw error(code, call)
            }
            return try body()
        } catch {
            call.code = error.code
            throw error
        }
    }

    private func fault(_ call: SimulatedCall) -> Int32? {
        for index in plan.faults.indices {
            let fault = plan.faults[index]
            guard !fault.operations.isDisjoint(with: call.operation), fault.times > 0, fault.calls.contains(calls)
            else { continue }
            if let path = fault.path {
                let name = SimulatedCall.join(call.directory, call.path)
                let newName = call.newPath.isEmpty ? nil : SimulatedCall.join(call.newDirectory, call.newPath)
                guard path(name) || newName.map(path) == true else { continue }
            }
            guard fault.probability >= 1 || random.chance(fault.probability) else { continue }
            plan.faults[index].times -= 1
            return fault.code
        }
        return nil
    }

    func error(_ code: Int32, _ call: SimulatedCall) -> FileError {
        FileError("\(call.operation) \(SimulatedCall.join(call.directory, call.path))", code: code)
    }

    private func remember(_ call: SimulatedCall) {
        if recent.count < Self.rememberedCalls {
            recent.append(call)
        } else {
            recent[oldest] = call
            oldest = (oldest + 1) % Self.rememberedCalls
        }
    }

    // MARK: Inodes and entries

    func makeInode(_ kind: FileStatus.Kind) -> SimulatedInode {
        defer { nextInode += 1 }
        return SimulatedInode(number: nextInode, kind: kind, modified: now())
    }

    /// Notes that a file's content is about to be changed.
    func willChange(_ inode: SimulatedInode) {
        inode.modified = now()
        inode.changed = inode.modified
        guard !inode.hasUnsynced else { return }
        unsynced.append(inode)
        if unsynced.count > 4096 {
            var seen: Set<ObjectIdentifier> = []
            unsynced = unsynced.filter { $0.hasUnsynced && seen.insert(ObjectIdentifier($0)).inserted }
            if !inode.hasUnsynced { unsynced.append(inode) }
        }
    }

    /// Gives an entry to something else, or takes it away; one operation with what is done to a second entry.
    func change(_ first: NameOperation.Change, _ second: NameOperation.Change? = nil) {
        for change in [first, second] {
            guard let change else { continue }
            if let old = change.directory.entries[change.name] { old.links -= 1 }
            change.directory.entries[change.name] = change.inode
            change.inode?.links += 1
            change.directory.modified = now()
            change.directory.changed = change.directory.modified
            change.inode?.changed = change.directory.modified
        }
        operations.append(NameOperation(first: first, second: second))
        if operations.count > Self.maximumOperations {
            let half = operations.count / 2
            operations.settle(operations.indices.map { $0 < half })
        }
    }

    func makeDurable(_ inode: SimulatedInode) {
        inode.sync()
        if inode.kind == .directory {
            operations.settle(operations.closure { $0.touches(inode) })
        }
    }

    func makeAllDurable() {
        operations.settle(operations.map { _ in true })
        for inode in unsynced { inode.sync() }
        unsynced = []
    }

    /// A sync has failed.
    func loseSync(of inode: SimulatedInode) {
        inode.failSync(&random)
        if inode.kind == .directory { settleSome { $0.touches(inode) } }
    }

    func loseSyncOfAll() {
        for inode in unsynced { inode.failSync(&random) }
        unsynced.removeAll { !$0.hasUnsynced }
        settleSome { _ in true }
    }

    /// Some of them are durable now.
    private func settleSome(_ isConcerned: (NameOperation) -> Bool) {
        var random = random
        defer { self.random = random }
        if random.flip() {
            operations.settle(operations.closure { isConcerned($0) && random.flip() })
        }
    }
}
