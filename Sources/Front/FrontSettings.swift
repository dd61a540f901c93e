import Daemon
import NIOCore
import Network
import SASL

/// The settings of every listener for strangers: validated values from the configuration.
package struct FrontSettings: Sendable {
    /// The name in the greeting.
    package var hostname: String
    /// Connections in all and from one client.
    package var connections = Listener.Limits()
    /// How long a client may be silent.
    package var idleTimeout = TimeAmount.minutes(5)
    /// How long the whole session may take, or all of it up to the login.
    package var sessionTimeout = TimeAmount.hours(1)
    /// Client errors before it is disconnected; a failed login is one.
    package var maximumErrors = 20
    /// What each fault beyond half of `maximumErrors` adds to the delay of its reply, ten times at most.
    package var errorDelay = TimeAmount.milliseconds(200)
    /// Whether clients on this machine may log in without TLS.
    package var allowsPlaintextOnLoopback = false
    /// How clients may show who they are, where what a mechanism needs is there.
    package var mechanisms = SASLMechanismName.allCases
    package var scram = LoginConfiguration.Scram.always
    /// What clients without a good token are told; nil where no tokens are taken.
    package var tokens: TokenHint?
    /// The path of authd's socket.
    package var authoritySocket = "run/auth.sock"
    /// How long authd, and the process that takes over a login, may take for an answer.
    package var authorityTimeout = TimeAmount.seconds(30)

    /// Settings with default limits.
    package init(hostname: String) { self.hostname = hostname }

    /// The settings that all daemons have in common.
    package init(_ configuration: Configuration) {
        self.init(hostname: configuration.hostname)
        mechanisms = configuration.login.mechanisms
        scram = configuration.login.scram
        tokens = configuration.authd.oauth.map {
            TokenHint(configuration: $0.configurationURL, scope: $0.scope)
        }
    }
}
