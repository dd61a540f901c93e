import NIOConcurrencyHelpers
import Spool

/// Does the spool's work on the thread of the test, one piece after the other, by a clock that only the test moves.
package final class SimulatedWorkers: SpoolWorkers {
    package typealias Work = @Sendable () -> Void

    /// When work is done that isn't for later.
    package enum Mode: Sendable {
        /// As soon as it's there, in the order it came: whoever asks for something has it when the call returns.
        case immediate
        /// When `step` or `drain` is called.
        case stepped
    }

    private struct Timer {
        let due: Int64
        let lane: SpoolLane
        let work: Work
    }

    private struct State {
        var mode: Mode
        /// For each lane, in the order of `SpoolLane.allCases`, and for what is called back.
        var queues = [[(number: UInt64, work: Work)]](repeating: [], count: SpoolLane.allCases.count + 1)
        var timers: [Timer] = []
        var number: UInt64 = 0
        var milliseconds: Int64 = 0
        var isDraining = false
        var isStopped = false
    }

    private static let callBacks = SpoolLane.allCases.count

    private let state: NIOLockedValueBox<State>

    package init(_ mode: Mode = .immediate) { state = NIOLockedValueBox(State(mode: mode)) }

    package var mode: Mode {
        get { state.withLockedValue { $0.mode } }
        set {
            state.withLockedValue { $0.mode = newValue }
            drainIfImmediate()
        }
    }

    /// Since the clock began.
    package var milliseconds: Int64 { state.withLockedValue { $0.milliseconds } }

    /// Whether there is nothing to do until the clock is moved.
    package var isIdle: Bool { state.withLockedValue { $0.queues.allSatisfy(\.isEmpty) } }

    /// As a killed process: what was to be done is not, and nothing more will be.
    package func stop() {
        let dropped = state.withLockedValue { state in
            state.isStopped = true
            defer {
                state.queues = state.queues.map { _ in [] }
                state.timers = []
            }
            // They end outside the lock: what they hold may call.
            return (state.queues, state.timers)
        }
        withExtendedLifetime(dropped) {}
    }

    // MARK: For the spool

    package func run(_ lane: SpoolLane, _ work: @escaping Work) { add(Self.index(lane), work) }

    package func run(_ lane: SpoolLane, afterMilliseconds delay: Int64, _ work: @escaping Work) {
        state.withLockedValue { state in
            guard !state.isStopped else { return }
            state.timers.append(Timer(due: state.milliseconds + delay, lane: lane, work: work))
        }
    }

    package func callBack(_ closure: @escaping Work) { add(Self.callBacks, closure) }

    private static func index(_ lane: SpoolLane) -> Int {
        switch lane {
        case .writer: 0
        case .publisher: 1
        case .cutter: 2
        case .reader: 3
        }
    }

    private func add(_ queue: Int, _ work: @escaping Work) {
        state.withLockedValue { state in
            guard !state.isStopped else { return }
            state.number += 1
            state.queues[queue].append((state.number, work))
        }
        drainIfImmediate()
    }

    // MARK: Doing it

    private func drainIfImmediate() {
        let drains = state.withLockedValue { state in
            guard state.mode == .immediate, !state.isDraining else { return false }
            state.isDraining = true
            return true
        }
        guard drains else { return }
        drain { $0.mode == .immediate }
        state.withLockedValue { $0.isDraining = false }
    }

    /// Does everything that is there, and what comes of it, in the order it came.
    package func drain() { drain { _ in true } }

    private func drain(while condition: (State) -> Bool) {
        while let work = state.withLockedValue({ condition($0) ? Self.oldest(&$0) : nil }) { work() }
    }

    private static func oldest(_ state: inout State) -> Work? {
        var best: Int?
        for index in state.queues.indices {
            guard let first = state.queues[index].first else { continue }
            if best.flatMap({ state.queues[$0].first }).map({ first.number < $0.number }) ?? true { best = index }
        }
        return best.map { state.queues[$0].removeFirst().work }
    }

    /// Does one piece of work of a lane that is drawn by lot; false where there is none. Readers overtake each other.
    package func step(_ random: (_ below: Int) -> Int) -> Bool {
        let work: Work? = state.withLockedValue { state in
            let ready = state.queues.indices.filter { !state.queues[$0].isEmpty }
            if ready.isEmpty { return nil }
            let queue = ready[random(ready.count)]
            let place = queue == Self.index(.reader) ? random(state.queues[queue].count) : 0
            return state.queues[queue].remove(at: place).work
        }
        guard let work else { return false }
        work()
        return true
    }

    /// Moves the clock, and hands over what is due.
    package func advance(milliseconds: Int64) {
        let end = state.withLockedValue { $0.milliseconds } + milliseconds
        while true {
            let next: Timer? = state.withLockedValue { state in
                let due = state.timers.indices.min { state.timers[$0].due < state.timers[$1].due }
                guard let due, state.timers[due].due <= end else { return nil }
                state.milliseconds = max(state.milliseconds, state.timers[due].due)
                return state.timers.remove(at: due)
            }
            guard let next else { break }
            run(next.lane, next.work)
        }
        state.withLockedValue { $0.milliseconds = max($0.milliseconds, end) }
    }
}
