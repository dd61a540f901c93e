import CSeccomp

#if canImport(Glibc)
import Glibc
#endif

/// A filter that is being made, by libseccomp.
struct SystemCallFilter: ~Copyable {
    private let context: scmp_filter_ctx

    /// - Parameters:
    ///   - other: what becomes of calls that no rule is about.
    ///   - foreign: what becomes of calls of another architecture, such as 32-bit ones, which no rule is about.
    init(other: UInt32, foreign: UInt32) throws(SetupError) {
        guard let context = seccomp_init(other) else {
            errno = ENOMEM
            throw SetupError("make a filter of system calls")
        }
        self.context = context
        seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, foreign)
        // A tree instead of a list: it costs the same wherever a call stands.
        seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)
        // The kernel's own errors. Older libraries and kernels have neither this nor the next.
        seccomp_attr_set(context, SCMP_FLTATR_API_SYSRAWRC, 1)
        seccomp_attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1)
    }

    deinit { seccomp_release(context) }

    /// Adds a rule; a call that this architecture doesn't have is left out.
    func add(_ rule: SystemCallRule, _ action: UInt32) throws(SetupError) {
        let number = seccomp_syscall_resolve_name(rule.name)
        guard number >= 0 else { return }
        let conditions = rule.conditions.map { condition in
            scmp_arg_cmp(
                arg: condition.argument,
                op: SCMP_CMP_MASKED_EQ,
                datum_a: condition.mask,
                datum_b: condition.value
            )
        }
        try check(seccomp_rule_add_array(context, action, number, UInt32(conditions.count), conditions), rule.name)
    }

    func add(_ number: CInt, _ action: UInt32) throws(SetupError) {
        try check(seccomp_rule_add_array(context, action, number, 0, nil), "call \(number)")
    }

    /// 0, or the kernel's error.
    func load() -> CInt { -seccomp_load(context) }

    private func check(_ result: CInt, _ name: String) throws(SetupError) {
        guard result == 0 else {
            errno = -result
            throw SetupError("filter system calls (\(name))")
        }
    }
}
