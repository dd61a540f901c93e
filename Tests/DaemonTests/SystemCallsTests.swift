import CSeccomp
import Testing

@testable import Daemon

/// What daemons may ask of the kernel. What becomes of calls that are made is seen in Tests/EndToEnd/test_rights.py.
@Suite struct SystemCallsTests {
    /// A name that libseccomp doesn't know would be left out silently.
    @Test(arguments: DaemonName.allCases)
    func eachNameIsACall(daemon: DaemonName) {
        let architectures = [seccomp_arch_resolve_name("x86_64"), seccomp_arch_resolve_name("aarch64")]
        let names = SystemCalls(daemon).groups.flatMap(\.rules).map(\.name) + SystemCalls.deadly + SystemCalls.absent
        for name in Set(names) {
            #expect(architectures.contains { seccomp_syscall_resolve_name_arch($0, name) >= 0 }, "\(name)")
        }
    }

    @Test(arguments: DaemonName.allCases)
    func nothingIsBothAllowedAndRefused(daemon: DaemonName) {
        let names = Set(SystemCalls(daemon).groups.flatMap(\.rules).map(\.name))
        #expect(names.isDisjoint(with: SystemCalls.deadly))
        #expect(names.isDisjoint(with: SystemCalls.absent))
        #expect(!names.contains("fork") && !names.contains("vfork"))
    }

    @Test func modesAreOfDaemons() throws {
        func modes(_ text: String) throws(ConfigurationError) -> SeccompConfiguration {
            try Configuration(text: "hostname = \"mail.example.test\"\n[seccomp]\n" + text, file: "martlet.toml")
                .seccomp
        }
        let none = try modes("")
        #expect(DaemonName.allCases.allSatisfy { none[$0] == .enforce })
        let some = try modes("imapd = \"log\"\nimapd-mailbox = \"off\"\n")
        #expect(some[.imapd] == .log)
        #expect(some[.imapdMailbox] == .off)
        #expect(some[.smtpd] == .enforce)
        let others = try modes("default = \"log\"\nkeyd = \"enforce\"\n")
        #expect(others[.smtpd] == .log)
        #expect(others[.keyd] == .enforce)
        for fault in ["smtpd = \"maybe\"", "smtpd = false", "reports = \"off\"", "martlet = \"off\""] {
            #expect(throws: ConfigurationError.self) { try modes(fault) }
        }
    }
}
