import CSeccomp
import CSystemCallTrial
import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// system-call-trial DAEMON [--log] CALL…: makes the calls in processes that are restricted as that daemon is, and says what
/// became of each. A CALL is a name or number with arguments, all numbers or `self` for the process: `kill:self,0`.
@main struct SystemCallTrial {
    /// What the processes are restricted to.
    private struct Restriction {
        let daemon: DaemonName
        let onlyLogging: Bool

        func apply() -> Bool { (try? SystemCalls(daemon).apply(onlyLogging: onlyLogging)) == .some(.none) }
    }

    static func main() {
        var arguments = CommandLine.arguments.dropFirst()
        guard let daemon = arguments.popFirst().flatMap(DaemonName.init(rawValue:)) else {
            print("usage: system-call-trial DAEMON [--log] CALL…")
            exit(64)
        }
        var restriction = Restriction(daemon: daemon, onlyLogging: arguments.first == "--log")
        if restriction.onlyLogging { arguments.removeFirst() }
        var calls = arguments.compactMap(call)
        withUnsafeMutablePointer(to: &restriction) { pointer in
            CSystemCallTrial_run(
                { $0?.assumingMemoryBound(to: Restriction.self).pointee.apply() ?? false },
                pointer,
                &calls,
                calls.count
            )
        }
        // Those that this architecture doesn't have are left out.
        for (text, call) in zip(arguments.filter { call($0) != nil }, calls) { print("\(text): \(word(call.end))") }
    }

    private static func call(_ text: String) -> CSystemCallTrial_call? {
        let parts = text.split(separator: ":", maxSplits: 1)
        let given = parts.count < 2 ? [] : parts[1].split(separator: ",")
        guard let name = parts.first, given.count <= 6 else { return nil }
        let number = Int(name) ?? Int(seccomp_syscall_resolve_name(String(name)))
        guard number >= 0 else { return nil }
        var call = CSystemCallTrial_call()
        call.number = number
        withUnsafeMutableBytes(of: &call.arguments) { memory in
            let arguments = memory.bindMemory(to: Int.self)
            for (place, text) in given.enumerated() {
                arguments[place] = text == "self" ? CSystemCallTrial_self : Int(text) ?? 0
            }
        }
        return call
    }

    private static func word(_ end: CSystemCallTrial_end) -> String {
        switch end {
        case CSystemCallTrial_allowed: return "allowed"
        case CSystemCallTrial_refused: return "refused"
        case CSystemCallTrial_absent: return "absent"
        case CSystemCallTrial_killed: return "killed"
        default: return "failed"
        }
    }
}
