import com.marcnuri.helm.Helm;
import java.nio.file.Path;

/**
 * What the checks need of Helm, by Helm's own code as a library: its program can't be had without building it for minutes.
 *
 * <pre>
 * lint CHART              helm lint CHART --strict
 * template CHART VALUES   helm template chat CHART --namespace chat --values VALUES, but without hooks
 * </pre>
 */
class HelmCheck {
  /** What the chart needs at least: the library, told nothing, takes an older one for granted. */
  private static final String KUBERNETES = "1.30.0";

  public static void main(String[] told) {
    Helm chart = new Helm(Path.of(told[1]));
    try {
      if (told[0].equals("lint")) {
        var result = chart.lint().strict().call();
        result.getMessages().forEach(System.out::println);
        System.exit(result.isFailed() ? 1 : 0);
      }
      System.out.println(
          chart.template().withName("chat").withNamespace("chat").withKubeVersion(KUBERNETES)
              .withValuesFile(Path.of(told[2])).call());
    } catch (IllegalStateException refused) {
      System.err.println(refused.getMessage());
      System.exit(1);
    }
  }
}
